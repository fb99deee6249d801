package xmlfmt

import (
	"fmt"
	"strings"
	"testing"

	"ingestd/ingest"
)

// TestLimits reads three records, of which the middle one is just below, at
// or just above a limit.
func TestLimits(t *testing.T) {
	const n = 100
	text := func(size int) string { return strings.Repeat("x", size) }
	for _, tt := range []struct {
		name  string
		o     Options
		value func(size int) string
		fault string
	}{
		{
			name: "record", o: Options{MaxRecord: n}, fault: "a record larger than 100 bytes",
			value: func(size int) string { return `<b><c>` + text(size-len(`<b><c></c></b>`)) + `</c></b>` },
		},
		{
			name: "text", o: Options{MaxField: n}, fault: "a field larger than 100 bytes",
			value: func(size int) string { return `<b><c>` + text(size) + `</c></b>` },
		},
		{
			name: "decoded text", o: Options{MaxField: n}, fault: "a field larger than 100 bytes",
			value: func(size int) string { return `<b><c>` + strings.Repeat("&lt;", size) + `</c></b>` },
		},
		{
			name: "attribute", o: Options{MaxField: n}, fault: "a field larger than 100 bytes",
			value: func(size int) string { return `<b c="` + text(size) + `"/>` },
		},
		{
			name: "own text", o: Options{MaxField: n}, fault: "a field larger than 100 bytes",
			value: func(size int) string { return `<b>` + text(size) + `<c/></b>` },
		},
		{
			name: "object", o: Options{MaxField: n}, fault: "a field larger than 100 bytes",
			value: func(size int) string { return `<b><c><d>` + text(size-len(`{"d":""}`)) + `</d></c></b>` },
		},
		{
			name: "array", o: Options{MaxField: n}, fault: "a field larger than 100 bytes",
			value: func(size int) string { return `<b><c>` + text(size-len(`["","1"]`)) + `</c><c>1</c></b>` },
		},
		{
			name: "names", o: Options{MaxNames: n}, fault: "more than 100 names in an element",
			value: func(size int) string { return "<b>" + numbered(size) + "</b>" },
		},
		{
			name: "names, nested", o: Options{MaxNames: n}, fault: "more than 100 names in an element",
			value: func(size int) string { return "<b><c>" + numbered(size) + "</c></b>" },
		},
		{
			name: "elements", o: Options{MaxElements: n}, fault: "more than 100 elements and attributes in a record",
			value: func(size int) string { return "<b>" + strings.Repeat("<c/>", size-1) + "</b>" },
		},
		{
			name: "elements and attributes", o: Options{MaxElements: n}, fault: "more than 100 elements and attributes in a record",
			value: func(size int) string {
				return "<b x=''>" + strings.Repeat("<c y=''/>", 48) + strings.Repeat("<d/>", size-98) + "</b>"
			},
		},
		{
			name: "attributes", o: Options{MaxAttributes: n}, fault: "more than 100 attributes",
			value: func(size int) string {
				s := "<b><c"
				for i := range size {
					s += fmt.Sprintf(" a%d=''", i)
				}
				return s + "/></b>"
			},
		},
		{
			name: "depth", o: Options{MaxDepth: n}, fault: "nested deeper than 100",
			value: func(size int) string {
				return "<b>" + strings.Repeat("<c>", size-2) + strings.Repeat("</c>", size-2) + "</b>"
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for size := n - 1; size <= n+1; size++ {
				tt.o.Record = "a/b"
				input := "<a>\n<b/>" + tt.value(size) + "<b/></a>"
				for _, block := range []int{0, 16, 64} {
					res := read(t, strings.NewReader(input), tt.o, block)
					if res.err != "" || len(res.lines) != 3 {
						t.Fatalf("%d, block %d: %q, %s", size, block, res.lines, res.err)
					}
					fault := strings.HasPrefix(res.lines[1], "fault")
					if fault != (size > n) || fault && !strings.Contains(res.lines[1], tt.fault) {
						t.Errorf("%d, block %d: %.120s", size, block, res.lines[1])
					}
				}
			}
		})
	}
}

func TestDefaultLimits(t *testing.T) {
	text := func(size int) string { return strings.Repeat("x", size) }
	deep := func(n int) string { return strings.Repeat("<c>", n-2) + strings.Repeat("</c>", n-2) }
	attributes := func(n int) (s string) {
		for i := range n {
			s += fmt.Sprintf(" a%d=''", i)
		}
		return s
	}
	half := "<c>" + text(8<<20-7) + "</c>" // 8 MiB
	for name, tt := range map[string]struct{ value, fault string }{
		"depth 64":         {value: "<b>" + deep(64) + "</b>"},
		"depth 65":         {value: "<b>" + deep(65) + "</b>", fault: "nested deeper than 64"},
		"256 attributes":   {value: "<b" + attributes(256) + "/>"},
		"257 attributes":   {value: "<b" + attributes(257) + "/>", fault: "more than 256 attributes"},
		"field of 8 MiB":   {value: "<b><c>" + text(8<<20) + "</c></b>"},
		"field over it":    {value: "<b><c>" + text(8<<20+1) + "</c></b>", fault: "a field larger than 8388608"},
		"record of 16 MiB": {value: "<b>" + half + "<d>" + text(8<<20-14) + "</d></b>"},
		"record over it":   {value: "<b>" + half + "<d>" + text(8<<20-13) + "</d></b>", fault: "a record larger than 16777216"},
		"record of 24 MiB": {value: "<b>" + strings.Repeat(half, 3) + "</b>", fault: "a record larger than 16777216"},
		"a long comment":   {value: "<b><!--" + text(20<<20) + "--></b>", fault: "a record larger than 16777216"},
	} {
		t.Run(name, func(t *testing.T) {
			res := read(t, strings.NewReader("<a><b/>"+tt.value+"<b/></a>"), Options{Record: "a/b"}, 0)
			if len(res.lines) != 3 || res.err != "" {
				t.Fatalf("%d results, %s", len(res.lines), res.err)
			}
			if fault := strings.HasPrefix(res.lines[1], "fault"); fault != (tt.fault != "") || !strings.Contains(res.lines[1], tt.fault) {
				t.Errorf("%.200s", res.lines[1])
			}
			if len(res.lines[1]) > ingest.MaxRawFault+1000 && tt.fault != "" {
				t.Errorf("%d bytes of a fault are kept", len(res.lines[1]))
			}
		})
	}
}

func TestLimitsOutside(t *testing.T) {
	for size := 99; size <= 101; size++ {
		for _, outside := range []string{
			strings.Repeat("x", size), "<!--" + strings.Repeat("x", size-7) + "-->", "<c d='" + strings.Repeat("x", size-9) + "'/>",
			"<![CDATA[" + strings.Repeat("x", size-12) + "]]>", "<?p " + strings.Repeat("x", size-6) + "?>",
		} {
			for _, block := range []int{0, 16} {
				res := read(t, strings.NewReader("<a><b/>"+outside+"<b/></a>"), Options{Record: "a/b", MaxField: 100}, block)
				if (res.err == "") != (size <= 100) || size > 100 && !strings.Contains(res.err, "larger than 100 bytes") {
					t.Errorf("%s, block %d: %q, %s", outside, block, res.lines, res.err)
				}
			}
		}
	}
	for depth := 9; depth <= 11; depth++ {
		res := read(t, strings.NewReader("<a>"+strings.Repeat("<c>", depth-1)+strings.Repeat("</c>", depth-1)+"</a>"), Options{Record: "a/b", MaxDepth: 10}, 0)
		if (res.err == "") != (depth <= 10) {
			t.Errorf("depth %d: %s", depth, res.err)
		}
	}
}

// TestHostile are inputs that must end soon, in little memory.
func TestHostile(t *testing.T) {
	var alike, attributes, names strings.Builder
	for i := range 80_000 {
		fmt.Fprintf(&names, "<c a%d=''/>", i)
	}
	for i := range 20_000 {
		fmt.Fprintf(&alike, "<x xmlns='urn:%d'/>", i)
	}
	for i := range 200_000 {
		fmt.Fprintf(&attributes, " a%d=''", i)
	}
	for name, tt := range map[string]struct{ input, err, fault string }{
		"200,000 tags":                   {input: "<a>" + strings.Repeat("<b>", 200_000), err: "cut short"},
		"200,000 tags outside":           {input: "<a>" + strings.Repeat("<c>", 200_000), err: "nested deeper than 64"},
		"200,000 tags, closed":           {input: "<a><b>" + strings.Repeat("<c>", 200_000) + strings.Repeat("</c>", 200_000) + "</b></a>", fault: "nested deeper"},
		"200,000 attributes":             {input: "<a><b" + attributes.String() + "/></a>", fault: "more than 256 attributes"},
		"200,000 attributes outside":     {input: "<a" + attributes.String() + "/>", err: "more than 256 attributes"},
		"300,000 elements":               {input: "<a><b>" + strings.Repeat("<c/>", 300_000) + "</b></a>", fault: "more than 262144 elements and attributes"},
		"two things a tag":               {input: "<a><b>" + strings.Repeat("<c d=''/>", 150_000) + "</b></a>", fault: "more than 262144 elements and attributes"},
		"80,000 names":                   {input: "<a><b>" + names.String() + "</b></a>", fault: "more than 65536 different names"},
		"a namespace each":               {input: "<a><b>" + alike.String() + "</b></a>", fault: "64 namespaces for one"},
		"a long namespace":               {input: "<a><b xmlns='" + strings.Repeat("x", 5000) + "'/></a>", fault: "a namespace longer than 4096"},
		"20 MiB without an end":          {input: "<a><b>" + strings.Repeat("x", 20<<20), err: "cut short"},
		"20 MiB of a tag":                {input: "<a><b c='" + strings.Repeat("x", 20<<20), err: "cut short"},
		"20 MiB of text outside":         {input: "<a>" + strings.Repeat("x", 20<<20) + "</a>", err: "larger than 8388608"},
		"20 MiB of comment outside":      {input: "<a><!--" + strings.Repeat("x", 20<<20) + "--></a>", err: "larger than 8388608"},
		"20 MiB of white space":          {input: "<a>" + strings.Repeat(" \n", 10<<20) + "</a>"},
		"20 MiB of white space before":   {input: strings.Repeat(" \n", 10<<20) + "<a/>"},
		"billion laughs":                 {input: `<!DOCTYPE a [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]><a>&b;</a>`, err: "entities are refused"},
		"external entity":                {input: `<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><a>&a;</a>`, err: "entities are refused"},
		"a DOCTYPE of 64 KiB":            {input: "<!DOCTYPE a [" + strings.Repeat(" ", 64<<10-len("<!DOCTYPE a []>")) + "]><a/>"},
		"a DOCTYPE over it":              {input: "<!DOCTYPE a [" + strings.Repeat(" ", 64<<10-len("<!DOCTYPE a []>")+1) + "]><a/>", err: "a DOCTYPE larger than 65536"},
		"a DOCTYPE of 1 MiB without end": {input: "<!DOCTYPE a [" + strings.Repeat(" ", 1<<20), err: "a DOCTYPE larger than 65536"},
		"a content model, 200,000 deep":  {input: "<!DOCTYPE a [<!ELEMENT a " + strings.Repeat("(", 60_000), err: "nested too deep"},
		"quotes":                         {input: "<a><b c=" + strings.Repeat("'", 1<<20) + "/></a>", fault: "white space, / or >"},
		"ampersands":                     {input: "<a><b>" + strings.Repeat("&", 1<<20) + "</b></a>", fault: "an & that begins"},
		"a reference without end":        {input: "<a><b>&" + strings.Repeat("x", 1<<20) + "</b></a>", fault: "an & that begins"},
		"angle brackets":                 {input: "<a><b>" + strings.Repeat("<", 1<<20) + "</b></a>", fault: "where a name should be"},
		"deep mixed with own name":       {input: "<a>" + strings.Repeat("<b><c>", 100_000), err: "cut short"},
	} {
		t.Run(name, func(t *testing.T) {
			res := read(t, strings.NewReader(tt.input), Options{Record: "a/b"}, 0)
			if !strings.Contains(res.err, tt.err) || tt.err == "" && res.err != "" {
				t.Errorf("error %.300s", res.err)
			}
			switch {
			case tt.fault == "" && len(res.lines) > 0, tt.fault != "" && len(res.lines) != 1:
				t.Errorf("%d results, the first: %.200s", len(res.lines), res.lines[0])
			case tt.fault != "" && !strings.Contains(res.lines[0][:200], tt.fault):
				t.Errorf("%.200s", res.lines[0])
			}
		})
	}
}
