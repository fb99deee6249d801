// Package expr compiles and evaluates the expressions of a config: whether an
// answer means delivered, which records pass, what a field becomes.
//
// The language is expr-lang's (https://expr-lang.org/docs/language-definition).
// What this package adds are bounds, because expressions look at bytes that
// strangers sent:
//
//   - Names are strict: an expression can use what Options.Names lists and
//     nothing else, and a misspelt one fails when it is compiled, with its place.
//   - No clock and no files: now and timezone do not exist.
//   - An expression has at most 4 KiB and 500 nodes. A run allocates no more
//     than about a million values, goes round its loops a million times at most,
//     and five seconds at the longest.
//
// Values are those of JSON as [JSON] reads them.
package expr

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	lang "github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// Bounds on one expression and one run of it.
const (
	maxSource = 4 << 10 // bytes
	maxNodes  = 500
	maxMemory = 1_000_000 // values allocated
	maxSteps  = 1_000_000 // rounds of all loops together
	maxTime   = 5 * time.Second
)

// Options say what an expression may look like.
type Options struct {
	// Names are what it may use, each with a value of its type; nil stands for
	// a value of any type.
	Names map[string]any
	// Fold lists the maps whose keys are found whatever their case is, as
	// "headers" or "meta.headers". The keys of the values are in lower case.
	Fold []string
	// Bool asks for an expression that is true or false.
	Bool bool
}

// An Error is what is wrong with an expression that does not compile.
type Error struct {
	Message string
	Line    int // in the expression, from 1
	Column  int // in characters, from 1
	Source  string
	Names   []string // where a name is unknown, those that are known
}

func (e *Error) Error() string {
	lines := strings.Split(e.Source, "\n")
	if e.Line < 1 || e.Line > len(lines) {
		return e.Message
	}
	line := strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, lines[e.Line-1])
	return fmt.Sprintf("%s\n    %s\n    %s^", e.Message, line, strings.Repeat(" ", e.Column-1))
}

// A Program is a compiled expression. It is safe for concurrent use.
type Program struct {
	p *vm.Program
}

// tick is the name of the function that counts the rounds of loops. No
// expression can write it.
const tick = " tick"

// Compile compiles source. What is wrong with it is an *Error.
func Compile(source string, o Options) (*Program, error) {
	switch {
	case strings.TrimSpace(source) == "":
		return nil, &Error{Message: "the expression is empty", Line: 1, Column: 1, Source: source}
	case len(source) > maxSource:
		return nil, &Error{Message: fmt.Sprintf("the expression is longer than %d bytes", maxSource), Line: 1, Column: 1}
	}
	names := types.Map{tick: types.TypeOf(func() bool { return true })}
	for name, v := range o.Names {
		if names[name] = types.Any; v != nil {
			names[name] = types.TypeOf(v)
		}
	}
	p, err := lang.Compile(source, lang.Env(names), lang.MaxNodes(maxNodes),
		lang.DisableBuiltin("now"), lang.DisableBuiltin("timezone"),
		lang.Patch(&patch{fold: o.Fold, done: map[*ast.PredicateNode]bool{}}))
	if err != nil {
		e := compileError(source, err)
		if strings.HasPrefix(e.Message, "unknown name ") {
			e.Names = slices.Sorted(maps.Keys(o.Names))
		}
		return nil, e
	}
	if t := p.Node().Type(); o.Bool && t != nil && t.Kind() != reflect.Bool && t.Kind() != reflect.Interface {
		return nil, &Error{Message: fmt.Sprintf("the expression is %s, neither true nor false", word(t)), Line: 1, Column: 1, Source: source}
	}
	return &Program{p}, nil
}

func compileError(source string, err error) *Error {
	e := &Error{Message: err.Error(), Line: 1, Column: 1, Source: source}
	var at *file.Error
	if errors.As(err, &at) {
		e.Message, e.Line, e.Column = at.Message, max(at.Line, 1), at.Column+1
	}
	e.Message, _, _ = strings.Cut(e.Message, "\n")
	return e
}

// patch makes loops count their rounds and keys fold their case.
type patch struct {
	fold []string
	done map[*ast.PredicateNode]bool
}

// Visit implements ast.Visitor.
func (p *patch) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.PredicateNode:
		if p.done[n] {
			return
		}
		p.done[n] = true
		n.Node = &ast.SequenceNode{Nodes: []ast.Node{&ast.CallNode{Callee: &ast.IdentifierNode{Value: tick}}, n.Node}}
	case *ast.MemberNode:
		key, ok := n.Property.(*ast.StringNode)
		if !ok {
			return
		}
		for _, f := range p.fold {
			if f == pathOf(n.Node) {
				key.Value = strings.ToLower(key.Value)
			}
		}
	}
}

// pathOf is a node as a dotted path, or "".
func pathOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.ChainNode:
		return pathOf(n.Node)
	case *ast.IdentifierNode:
		return n.Value
	case *ast.MemberNode:
		if key, ok := n.Property.(*ast.StringNode); ok {
			return pathOf(n.Node) + "." + key.Value
		}
	}
	return ""
}

// Eval evaluates the expression over values, which have the names and types
// that it was compiled with. An error says why it has no value over these: a
// part of them is missing or of another type, or a bound was passed. Its text
// may hold parts of the values.
func (p *Program) Eval(values map[string]any) (any, error) {
	env := make(map[string]any, len(values)+1)
	maps.Copy(env, values)
	m := &meter{}
	env[tick] = m.tick
	machine := vm.VM{MemoryBudget: maxMemory}
	v, err := machine.Run(p.p, env)
	if err != nil {
		var at *file.Error
		if errors.As(err, &at) {
			return nil, fmt.Errorf("column %d: %s", at.Column+1, at.Message)
		}
		return nil, err
	}
	return v, nil
}

// Bool evaluates an expression that was compiled with Options.Bool. What is
// absent or null is false; any other value that is no boolean is an error.
func (p *Program) Bool(values map[string]any) (bool, error) {
	v, err := p.Eval(values)
	if err != nil || v == nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("its value is %s, neither true nor false", typeOf(v))
	}
	return b, nil
}

// meter counts the rounds of one run.
type meter struct {
	steps int
	began time.Time
}

var errSteps = errors.New("it takes too long over this value")

func (m *meter) tick() bool {
	const look = 64 // rounds between two looks at the clock
	if m.steps++; m.steps > maxSteps {
		panic(errSteps)
	}
	if m.steps%look == 1 {
		switch now := time.Now(); {
		case m.began.IsZero():
			m.began = now
		case now.Sub(m.began) > maxTime:
			panic(errSteps)
		}
	}
	return true
}

func typeOf(v any) string { return word(reflect.TypeOf(v)) }

// word is a type as people call it.
func word(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Int, reflect.Int64, reflect.Float64:
		return "a number"
	}
	return "a " + t.String()
}
