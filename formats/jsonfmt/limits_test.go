package jsonfmt

import (
	"fmt"
	"strings"
	"testing"

	"ingestd/ingest"
)

// TestLimits reads three records, of which the middle one is just below, at
// or just above a limit, in every shape.
func TestLimits(t *testing.T) {
	const n = 100
	for _, tt := range []struct {
		name  string
		o     Options
		value func(size int) string
		fault string
	}{
		{
			name: "record", o: Options{MaxRecord: n}, fault: "a record larger than 100 bytes",
			value: func(size int) string { return `{"a":"` + strings.Repeat("x", size-len(`{"a":""}`)) + `"}` },
		},
		{
			name: "string", o: Options{MaxField: n}, fault: "a field larger than 100 bytes",
			value: func(size int) string { return `{"a":"` + strings.Repeat("x", size) + `"}` },
		},
		{
			name: "escaped string", o: Options{MaxField: n}, fault: "a field larger than 100 bytes",
			value: func(size int) string { return `{"a":"` + strings.Repeat(`\t`, size) + `"}` },
		},
		{
			name: "digits", o: Options{MaxField: n}, fault: "a field larger than 100 bytes",
			value: func(size int) string { return `{"a":` + strings.Repeat("1", size) + `}` },
		},
		{
			name: "nested", o: Options{MaxField: n}, fault: "a field larger than 100 bytes",
			value: func(size int) string { return `{"a":[ "` + strings.Repeat("x", size-len(`[""]`)) + `" ]}` },
		},
		{
			name: "names", o: Options{MaxNames: n}, fault: "more than 100 names in the record",
			value: func(size int) string { return object(size) },
		},
		{
			name: "names, nested", o: Options{MaxNames: n}, fault: "more than 100 names in an object",
			value: func(size int) string { return `{"x":[` + object(size) + `]}` },
		},
		{
			name: "depth", o: Options{MaxDepth: n}, fault: "nested deeper than 100",
			value: func(size int) string {
				return `{"a":` + strings.Repeat("[", size-1) + strings.Repeat("]", size-1) + "}"
			},
		},
		{
			name: "depth of objects", o: Options{MaxDepth: n}, fault: "nested deeper than 100",
			value: func(size int) string { return strings.Repeat(`{"a":`, size) + "1" + strings.Repeat("}", size) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for size := n - 1; size <= n+1; size++ {
				value := tt.value(size)
				for shape, input := range map[string]string{
					"array":        "[\n{},\n" + value + ",\n{}]",
					"ndjson":       "{}\n" + value + "\n{}\n",
					"concatenated": "{\n}\n" + value + "{}",
				} {
					for _, block := range []int{0, 16, 64} {
						res := read(t, strings.NewReader(input), tt.o, block)
						if res.err != "" || len(res.lines) != 3 || res.shape != shape {
							t.Fatalf("%d, %s, block %d: %q, %s", size, res.shape, block, res.lines, res.err)
						}
						fault := strings.HasPrefix(res.lines[1], "fault")
						if fault != (size > n) || fault && !strings.Contains(res.lines[1], tt.fault) {
							t.Errorf("%d, %s, block %d: %.120s", size, shape, block, res.lines[1])
						}
					}
				}
			}
		})
	}
}

func object(names int) string {
	var b strings.Builder
	for i := range names {
		fmt.Fprintf(&b, `,"n%d":%d`, names-i, i)
	}
	return "{" + b.String()[1:] + "}"
}

func TestDefaultLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		input string
		fault string
	}{
		"depth 64":         {input: strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64)},
		"depth 65":         {input: strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65), fault: "nested deeper than 64"},
		"16,384 names":     {input: object(16384)},
		"16,385 names":     {input: object(16385), fault: "more than 16384 names"},
		"field of 8 MiB":   {input: `{"a":"` + strings.Repeat("x", 8<<20) + `"}`},
		"field over 8 MiB": {input: `{"a":"` + strings.Repeat("x", 8<<20+1) + `"}`, fault: "a field larger than 8388608"},
		"record of 16 MiB": {input: wide(16 << 20)},
		"record over it":   {input: wide(16<<20 + 1), fault: "a record larger than 16777216"},
		"record of 24 MiB": {input: wide(24 << 20), fault: "a record larger than 16777216"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, input := range []string{"[{}," + tt.input + ",{}]", "{}\n" + tt.input + "\n{}"} {
				res := read(t, strings.NewReader(input), Options{}, 0)
				if len(res.lines) != 3 || res.err != "" {
					t.Fatalf("%d results, %s", len(res.lines), res.err)
				}
				if fault := strings.HasPrefix(res.lines[1], "fault"); fault != (tt.fault != "") || !strings.Contains(res.lines[1], tt.fault) {
					t.Errorf("%.200s", res.lines[1])
				}
				if len(res.lines[1]) > ingest.MaxRawFault+1000 && tt.fault != "" {
					t.Errorf("%d bytes of a fault are kept", len(res.lines[1]))
				}
			}
		})
	}
}

// wide is an object of size bytes with fields below the limit of a field.
func wide(size int) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := 0; size-b.Len() > 5<<20; i++ {
		fmt.Fprintf(&b, `"f%d":"%s",`, i, strings.Repeat("x", 4<<20))
	}
	b.WriteString(`"last":"`)
	b.WriteString(strings.Repeat("x", size-b.Len()-2))
	b.WriteString(`"}`)
	return b.String()
}

// TestHostile are inputs that must end soon, in little memory.
func TestHostile(t *testing.T) {
	for name, tt := range map[string]struct{ input, err string }{
		"200,000 brackets":         {input: strings.Repeat("[", 200_000), err: "cut short"},
		"200,000 brackets, closed": {input: strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000)},
		"200,000 braces":           {input: strings.Repeat(`{"a":`, 200_000), err: "cut short"},
		"300,000 names":            {input: "[" + object(300_000) + "]"},
		"20 MiB without an end":    {input: `{"a":"` + strings.Repeat("x", 20<<20), err: "cut short"},
		"20 MiB of white space":    {input: strings.Repeat(" ", 20<<20)},
		"white space in a record":  {input: "{" + strings.Repeat(" ", 20<<20) + "}"},
		"a number of 20 MiB":       {input: "[" + strings.Repeat("1", 20<<20) + "]"},
		"brackets in lines":        {input: strings.Repeat("[\n", 100_000), err: "cut short"},
		"open objects in lines":    {input: "{}\n" + strings.Repeat("{\"a\":\n", 100_000), err: ""},
		"backslashes":              {input: `["` + strings.Repeat(`\\`, 1<<20), err: "cut short"},
		"quotes":                   {input: "[" + strings.Repeat(`"`, 1<<20), err: "json: "},
	} {
		t.Run(name, func(t *testing.T) {
			res := read(t, strings.NewReader(tt.input), Options{}, 0)
			if !strings.Contains(res.err, tt.err) || tt.err == "" && res.err != "" {
				t.Error(res.err)
			}
			for _, line := range res.lines {
				if !strings.HasPrefix(line, "fault") && line != "1:1 {}" {
					t.Errorf("%.100s", line)
				}
			}
		})
	}
}

func TestPathLimits(t *testing.T) {
	big := strings.Repeat("x", 100)
	for name, tt := range map[string]struct{ input, err string }{
		"a large text beside it":   {`{"m":"` + big + big + `","a":[{"b":1}]}`, "a text larger than 100 bytes"},
		"many small ones":          {`{"m":[` + strings.Repeat(`"x",`, 500) + `1],"a":[{"b":1}]}`, ""},
		"a deep one":               {`{"m":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `,"a":[{"b":1}]}`, ""},
		"one too deep":             {`{"m":` + strings.Repeat("[", 10) + strings.Repeat("]", 10) + `,"a":[{"b":1}]}`, "nested deeper than 10"},
		"a bad one":                {"{\"m\":\"\xff\",\"a\":[{\"b\":1}]}", "bytes that are not UTF-8"},
		"a bad name":               {"{\"\xff\":1,\"a\":[{\"b\":1}]}", "bytes that are not UTF-8"},
		"a lone surrogate":         {`{"m":"\ud800","a":[{"b":1}]}`, "lone surrogate"},
		"brackets that do not fit": {`{"m":[1},"a":[{"b":1}]}`, "does not close what is open"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, block := range []int{0, 16} {
				res := read(t, strings.NewReader(tt.input), Options{Records: "a", MaxRecord: 100, MaxDepth: 10}, block)
				if tt.err == "" {
					if res.err != "" || len(res.lines) != 1 {
						t.Error(res.lines, res.err)
					}
				} else if !strings.Contains(res.err, tt.err) || len(res.lines) != 0 {
					t.Error(res.lines, res.err)
				}
			}
		})
	}
}
