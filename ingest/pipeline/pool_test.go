package pipeline

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is taken and given back: a pipeline that holds nothing always gets
// what it asks for, and beyond that one allowance for each, neither the pool nor
// a pipeline's quarter of it is passed.
func TestPoolBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 1000).Draw(t, "size")
		p := NewPool(size)
		type part struct {
			name    string
			n       int64
			allowed bool // taken though nothing was free, since its pipeline held nothing
		}
		var held []part
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				name := fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "pipeline"))
				n := rapid.Int64Range(1, 2*size).Draw(t, "bytes")
				none := p.by[name] == 0
				ok, free := p.try(name, n)
				if ok {
					held = append(held, part{name, n, none})
				}
				if none && !ok || !ok && free == nil {
					t.Fatalf("pipeline %s holds nothing and was refused", name)
				}
			},
			"give": func(t *rapid.T) {
				if len(held) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				_, wait := p.try(held[i].name, 10*size)
				p.give(held[i].name, held[i].n)
				select {
				case <-wait:
				default:
					t.Fatal("those who wait were not told")
				}
				held = append(held[:i], held[i+1:]...)
			},
			"": func(t *rapid.T) {
				var sum, allowance int64
				by := map[string]int64{}
				for _, h := range held {
					sum += h.n
					by[h.name] += h.n
					if h.allowed {
						allowance += h.n
					}
				}
				if p.used != sum || p.used > size+allowance {
					t.Fatalf("used %d, held %d, size %d, allowances %d", p.used, sum, size, allowance)
				}
				for name, n := range by {
					if p.by[name] != n {
						t.Fatalf("pipeline %s: %d, want %d", name, p.by[name], n)
					}
				}
			},
		})
	})
}

// Many take at once, and all get through.
func TestPoolUnderLoad(t *testing.T) {
	t.Parallel()
	p := NewPool(1000)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			name := fmt.Sprint(i % 5)
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			for range 300 {
				n := rnd.Int64N(1500)
				if err := p.take(t.Context(), name, n); err != nil {
					t.Error(err)
					return
				}
				p.give(name, n)
			}
		})
	}
	wg.Wait()
	if p.used != 0 || len(p.by) != 0 {
		t.Errorf("used %d, %v", p.used, p.by)
	}
	if err := p.take(t.Context(), "a", 900); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.take(ctx, "a", 200); err == nil {
		t.Error("took what was not free")
	}
}
