package webhook

// Remembered is the number of marks that a hook knows.
func Remembered(h *Hook) int { return h.seen.len() }
