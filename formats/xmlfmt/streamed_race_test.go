//go:build race

package xmlfmt

// streamed is less where each byte costs ten times as much.
const streamed = 24 << 20
