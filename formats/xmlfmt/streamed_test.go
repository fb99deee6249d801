//go:build !race

package xmlfmt

// streamed is how many bytes the memory test reads.
const streamed = 300 << 20
