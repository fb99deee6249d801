package formats

import (
	"context"
	"io"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"

	"ingestd/ingest"
)

func encoded(t *testing.T, name, text string) []byte {
	t.Helper()
	e, err := htmlindex.Get(name)
	if err != nil {
		var ie encoding.Encoding
		if ie, err = ianaindex.IANA.Encoding(name); err != nil || ie == nil {
			t.Fatalf("%s: %v", name, err)
		}
		e = ie
	}
	b, err := e.NewEncoder().Bytes([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

func TestGuess(t *testing.T) {
	const (
		german    = "id;name;ort\n1;Jürgen Müller;Köln\n2;Käthe Groß;Weißenburg\n3;Jörg Bär;Nürnberg\n"
		french    = "id;nom;ville\n1;Hélène Lefèvre;Orléans\n2;François Bérenger;Besançon\n3;à côté du marché;Sète\n"
		polish    = "id;nazwa;miasto\n1;Łukasz Żak;Łódź\n2;Świętosława Gęś;Kraków\n3;Paweł Dąbrowski;Gdańsk\n"
		czech     = "id;jméno;město\n1;Jiří Dvořák;Plzeň\n2;Růžena Nováková;Český Krumlov\n3;Božena Němcová;Třebíč\n"
		russian   = "номер;имя;город\n1;Иван Петров;Москва\n2;Ольга Сидорова;Санкт-Петербург\n3;Юрий Жуков;Екатеринбург\n"
		greek     = "κωδικός;όνομα;πόλη\n1;Γιώργος Παπαδόπουλος;Αθήνα\n2;Ελένη Νικολάου;Θεσσαλονίκη\n"
		japanese  = "番号,名前,町\n1,山田さん,とうきょう\n2,鈴木のはなこ,おおさかの町です\n3,カタカナ,サッポロ\n"
		chinese   = "编号,姓名,城市\n1,王小明,北京市海淀区\n2,李红,上海市\n3,张伟,广州市天河区中山大道\n"
		trad      = "編號,姓名,城市\n1,王小明,台北市大安區\n2,李紅,高雄市\n3,張偉,台中市西屯區中山路\n"
		korean    = "번호,이름,도시\n1,김철수,서울특별시\n2,이영희,부산광역시\n3,박민수,대전\n"
		spanish   = "id,nombre\n1,Peña Muñoz\n2,José García\n3,María López Ibáñez\n"
		norwegian = "id,navn\n1,Bjørn Ødegård\n2,Kjære Åse\n3,Sørum på Øya\n"
	)
	for _, c := range []struct{ encoding, text string }{
		{"windows-1252", german},
		{"ibm850", german},
		{"macintosh", german},
		{"windows-1252", french},
		{"ibm850", french},
		{"windows-1252", spanish},
		{"windows-1252", norwegian},
		{"windows-1250", polish},
		{"iso-8859-2", polish},
		{"ibm852", polish},
		{"windows-1250", czech},
		{"windows-1251", russian},
		{"koi8-r", russian},
		{"ibm866", russian},
		{"iso-8859-5", russian},
		{"windows-1253", greek},
		{"shift_jis", japanese},
		{"euc-jp", japanese},
		{"gb18030", chinese},
		{"big5", trad},
		{"euc-kr", korean},
	} {
		t.Run(c.encoding+" "+c.text[:6], func(t *testing.T) {
			data := encoded(t, c.encoding, c.text)
			got, why, sure := guessEncoding(data, false)
			if !sure {
				t.Fatalf("not sure: %s", why)
			}
			// Another name is as good where the text is the same.
			text, err := io.ReadAll(got.open(input("", data).ReaderAt.(io.Reader)))
			if err != nil || string(text) != c.text {
				t.Errorf("guessed %s (%s): %.60q", got.name, why, text)
			}
		})
	}
}

func TestGuessStops(t *testing.T) {
	for _, data := range []string{
		"id,name\n1,\xE9\n",                         // one character
		"id,name\n1,\x81\x8D\x8F\x90\x9D\xFF\xFE\n", // no text in any
		"id,name\n1,x\n",                            // ASCII
		"id,name\n1,\xC3\xA9\n",                     // UTF-8
	} {
		if c, why, sure := guessEncoding([]byte(data), false); sure {
			t.Errorf("%q: %s: %s", data, c.name, why)
		}
	}
}

// A run has no Guess.
func TestRunDoesNotGuess(t *testing.T) {
	data := encoded(t, "windows-1252", "id,name\n1,Jürgen Müller\n2,Ann\n3,Käthe Groß\n")
	for _, guess := range []bool{false, true} {
		r, err := Open(context.Background(), Spec{Guess: guess}, input("a.csv", data))
		if err != nil {
			t.Fatal(err)
		}
		var c ingest.Chunk
		if err := r.Read(context.Background(), &c); err != nil {
			t.Fatal(err)
		}
		records, faults := 1, 2
		if guess {
			records, faults = 3, 0
		}
		if len(c.Records) != records || len(c.Faults) != faults {
			t.Errorf("guess %v: %d records, %d faults", guess, len(c.Records), len(c.Faults))
		}
		r.Close()
	}
}
