package config

import (
	"slices"
	"strings"
)

// hook checks a webhook source with what else its pipeline says.
func (k *checker) hook(p *Pipeline, path string) {
	h := &p.Source.Webhook
	if p.Record.OnInvalid == "reject_file" {
		k.warn(under(path, "record.on_invalid"), "`reject_file` is about files: of an event, too, a record that is bad is a dead letter, and its neighbours are delivered")
	}
	if h.Mode == "sync" && len(p.Sinks) > 0 {
		name := h.Responder(p)
		if s := k.sinks[name]; s != nil && s.Type != "http" {
			k.say(under(path, "source.mode"), "`mode: sync` passes the answer of sink `"+name+"` on, and `type: "+s.Type+"` gives none", "name an http sink in `respond`, or take `mode: async`")
		}
	}
	if h.Mode != "sync" && slices.Contains(h.Methods, "GET") && h.Challenge != "meta" {
		k.warn(under(path, "source.methods"), "GET asks the target only with `mode: sync`; here it stores an event")
	}
	if h.Verify.Scheme == "none" && !loopback(k.c.Webhooks.Listen) && len(h.Verify.Allow) == 0 && !h.Verify.ClientCert {
		k.warn(under(path, "source.verify"), "`scheme: none` on a listener that other machines reach: anybody who knows the path can send events; choose a scheme, or name the senders in `allow`")
	}
	if h.Verify.ClientCert && k.c.Webhooks.TLS.ClientCAFile == "" {
		k.say(under(path, "source.verify.client_cert"), "`client_cert` needs `webhooks.tls.client_ca_file`: who signs them", "")
	}
	if h.Path == "" {
		return
	}
	if strings.HasPrefix(h.Path, "/.results") {
		k.say(under(path, "source.path"), "paths below /.results are where results are asked for", "")
	}
	for i := range k.c.Pipelines {
		o := &k.c.Pipelines[i]
		if o == p {
			return
		}
		if o.Source.Type == "webhook" && o.Source.Webhook.Path == h.Path {
			k.say(under(path, "source.path"), "pipeline `"+o.Name+"` has this path too", "give each a path of its own")
			return
		}
	}
}

// Hooked reports whether any pipeline is called by senders.
func (c *Config) Hooked() bool {
	return slices.ContainsFunc(c.Pipelines, func(p Pipeline) bool { return p.Source.Type == "webhook" })
}

// Title is what arrivals of the hook are called.
func (w *Webhook) Title(p *Pipeline) string {
	if w.Path != "" {
		return w.Path
	}
	return p.Name // its path is a secret
}

// Responder is the sink whose answer a sync sender gets.
func (w *Webhook) Responder(p *Pipeline) string {
	if w.Respond != "" || len(p.Sinks) == 0 {
		return w.Respond
	}
	return p.Sinks[0]
}
