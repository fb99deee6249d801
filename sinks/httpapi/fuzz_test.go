package httpapi

import (
	"encoding/json"
	"strings"
	"testing"
)

// Whatever a token endpoint sends is a token with a life that makes sense, or
// none.
func FuzzTokenAnswer(f *testing.F) {
	for _, s := range []string{
		`{"access_token":"a","expires_in":3600}`, `{"expires_in":"1e400"}`, `{"expires_in":-1e400,"error":{}}`, `{"access_token":{}}`,
		`{"expires_in":NaN}`, `{"expires_in":"NaN"}`, `{"expires_in":"Inf"}`, `{"error":"a","error_description":"b"}`, `[]`, `"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var a tokenAnswer
		_ = json.Unmarshal([]byte(body), &a)
		if life := lifetime(a.ExpiresIn); life < 0 || life > maxTokenLife {
			t.Fatalf("%q lives %v", body, life)
		}
		_, _ = a.token(), a.said()
	})
}

// A template comes apart into what it was made of.
func FuzzSigned(f *testing.F) {
	for _, s := range []string{"{timestamp}.{body}", "{", "{body", "}{", "{bo{body}", "a{method}b", "{{body}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts, err := words(text, wordBody, wordTimestamp, wordMethod, wordPath, wordKey)
		if err != nil {
			if !strings.Contains(text, "{") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if strings.Join(parts, "") != text {
			t.Fatalf("%q became %q", text, parts)
		}
	})
}
