package pipeline

// Used is how many bytes are taken from the pool.
func (p *Pool) Used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}
