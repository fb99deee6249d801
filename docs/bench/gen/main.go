// Command gen writes the benchmark's input: a CSV of ten columns, each row 117
// bytes with its line end and a quoted cell, every tenth row a repetition of an
// earlier one. The same -rows give the same bytes, always.
//
//	go run ./docs/bench/gen -rows 1000000 > orders.csv
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
)

const (
	header   = "order_id,customer_id,email,sku,quantity,price,currency,ordered_at,status,note\n"
	rowBytes = 117
	every    = 10 // one row in so many is a repetition
	filler   = "as agreed on the phone, please ring twice"
)

func main() {
	rows := flag.Int("rows", 1_000_000, "rows, repetitions included")
	flag.Parse()
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	err := write(out, *rows)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func write(w io.Writer, rows int) error {
	if _, err := io.WriteString(w, header); err != nil {
		return err
	}
	buf := make([]byte, 0, rowBytes)
	for i := range rows {
		n := uint64(i)
		if i%every == every-1 {
			if n = mix(n) % n; n%every == every-1 {
				n-- // repeat a first appearance
			}
		}
		buf = appendRow(buf[:0], n)
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

func appendRow(b []byte, n uint64) []byte {
	r := mix(n)
	pick := func(of uint64) uint64 {
		r = mix(r)
		return r % of
	}
	customer := pick(1_000_000)
	b = fmt.Appendf(b, "O%09d,C%06d,user%06d@example.com,SKU-%05d,%d,%d.%02d,%s,2026-%02d-%02dT%02d:%02d:%02dZ,%s,\"",
		n, customer, customer, pick(100_000), 1+pick(99), pick(1000), pick(100),
		[]string{"EUR", "USD", "GBP"}[pick(3)],
		1+pick(12), 1+pick(28), pick(24), pick(60), pick(60),
		[]string{"open", "paid", "shipped"}[pick(3)])
	b = append(b, filler[:rowBytes-len("\"\n")-len(b)]...)
	return append(b, "\"\n"...)
}

// mix is splitmix64: a number's own random number.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
