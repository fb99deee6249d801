//go:build !race

package jsonfmt

// streamed is how many bytes the memory test reads.
const streamed = 300 << 20
