package daemon

import (
	"reflect"

	"golang.org/x/time/rate"

	"ingestd/config"
	"ingestd/ingest/source/webhook"
)

// serverOptions are the bounds of the listener.
func serverOptions(w *config.Webhooks) webhook.ServerOptions {
	return webhook.ServerOptions{
		TrustedProxies: w.TrustedProxies, MaxHeader: int(w.MaxHeader), HeaderTimeout: w.HeaderTimeout, BodyTimeout: w.BodyTimeout,
		IdleTimeout: w.IdleTimeout, MaxConns: w.MaxConns, MaxConnsPer: w.MaxConnsPer,
	}
}

// hookLimits are the bounds of one hook, and the token of its handshake.
func hookLimits(h *config.Webhook, o *webhook.HookOptions) {
	o.Rate, o.Concurrency, o.Token = rate.Limit(h.Rate.PerSecond()), h.Concurrency, h.ChallengeToken
}

// sameListener reports whether a listener that was opened as one config says is
// what another asks for.
func sameListener(a, b *config.Webhooks) bool {
	return reflect.DeepEqual(serverOptions(a), serverOptions(b))
}
