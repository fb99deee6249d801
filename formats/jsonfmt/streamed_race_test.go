//go:build race

package jsonfmt

// streamed is less where each byte costs ten times as much.
const streamed = 24 << 20
