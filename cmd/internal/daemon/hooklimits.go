package daemon

import (
	"ingestd/config"
	"ingestd/ingest/source/webhook"
)

// serverOptions are the bounds of the listener.
func serverOptions(w *config.Webhooks) webhook.ServerOptions {
	return webhook.ServerOptions{TrustedProxies: w.TrustedProxies}
}

// hookLimits are the bounds of one hook.
func hookLimits(*config.Webhook, *webhook.HookOptions) {}

// queueOf is how many bytes of events may wait on disk; 0 = the default.
func queueOf(*config.Webhook) int64 { return 0 }
