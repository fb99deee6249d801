package xmlfmt

import (
	"strings"
	"testing"
)

func TestDoctype(t *testing.T) {
	for _, tt := range []struct {
		doctype string
		ok      bool
	}{
		{`<!DOCTYPE a>`, true},
		{`<!DOCTYPE a >`, true},
		{`<!DOCTYPE p:a SYSTEM "x.dtd" >`, true},
		{`<!DOCTYPE a SYSTEM 'x"y'>`, true},
		{`<!DOCTYPE a PUBLIC "-//X//DTD y 1.0//EN" "http://x/y.dtd">`, true},
		{`<!DOCTYPE a []>`, true},
		{`<!DOCTYPE a SYSTEM "x"[ ] >`, true},
		{`<!DOCTYPE a [<!ELEMENT a EMPTY><!ELEMENT b ANY>]>`, true},
		{`<!DOCTYPE a [<!ELEMENT a (#PCDATA)><!ELEMENT b ( #PCDATA )*>]>`, true},
		{`<!DOCTYPE a [<!ELEMENT a (#PCDATA|b| c )*>]>`, true},
		{`<!DOCTYPE a [<!ELEMENT a (b)><!ELEMENT a (b,c?,(d|e)*)+ >]>`, true},
		{`<!DOCTYPE a [<!ATTLIST a>]>`, true},
		{`<!DOCTYPE a [<!ATTLIST a b CDATA #IMPLIED c (x|2) "x" d NMTOKENS #FIXED '&lt;>'>]>`, true},
		{`<!DOCTYPE a [<!ATTLIST a b NOTATION (x|y) #REQUIRED>]>`, true},
		{`<!DOCTYPE a [<!NOTATION x SYSTEM "y"><!NOTATION z PUBLIC "p"><!NOTATION z PUBLIC "p" "s" >]>`, true},
		{`<!DOCTYPE a [<!-- <!ENTITY --><?pi ]> ?>]>`, true},

		{`<!DOCTYPE>`, false},
		{`<!DOCTYPEa>`, false},
		{`<!doctype a>`, false},
		{`<!DOCTYPE a b>`, false},
		{`<!DOCTYPE 1a>`, false},
		{`<!DOCTYPE a SYSTEM>`, false},
		{`<!DOCTYPE a SYSTEM"x">`, false},
		{`<!DOCTYPE a PUBLIC "x">`, false},
		{`<!DOCTYPE a PUBLIC "x""y">`, false},
		{`<!DOCTYPE a PUBLIC "{}" "y">`, false},
		{`<!DOCTYPE a [<!ELEMENT a>]>`, false},
		{`<!DOCTYPE a [<!ELEMENT a empty>]>`, false},
		{`<!DOCTYPE a [<!ELEMENT a ()>]>`, false},
		{`<!DOCTYPE a [<!ELEMENT a (b|c,d)>]>`, false},
		{`<!DOCTYPE a [<!ELEMENT a (b,)>]>`, false},
		{`<!DOCTYPE a [<!ELEMENT a (b) *>]>`, false},
		{`<!DOCTYPE a [<!ELEMENT a (#PCDATA|b)>]>`, false},
		{`<!DOCTYPE a [<!ELEMENT a (#PCDATA,b)*>]>`, false},
		{`<!DOCTYPE a [<!ELEMENT a (b|#PCDATA)*>]>`, false},
		{`<!DOCTYPE a [<!ELEMENT a (b>]>`, false},
		{`<!DOCTYPE a [<!ELEMENT a(b)>]>`, false},
		{`<!DOCTYPE a [<!ATTLIST a b CDATA>]>`, false},
		{`<!DOCTYPE a [<!ATTLIST a b cdata #IMPLIED>]>`, false},
		{`<!DOCTYPE a [<!ATTLIST a b CDATA "x"c CDATA "y">]>`, false},
		{`<!DOCTYPE a [<!ATTLIST a b CDATA "<">]>`, false},
		{`<!DOCTYPE a [<!ATTLIST a b CDATA "&x;">]>`, false},
		{`<!DOCTYPE a [<!ATTLIST a b (x,y) "x">]>`, false},
		{`<!DOCTYPE a [<!ATTLIST a b NOTATION(x) #IMPLIED>]>`, false},
		{`<!DOCTYPE a [<!NOTATION x "y">]>`, false},
		{`<!DOCTYPE a [<!NOTATION x>]>`, false},
		{`<!DOCTYPE a [<!ENTITY x "y">]>`, false},
		{`<!DOCTYPE a [<!ENTITY % x "y">]>`, false},
		{`<!DOCTYPE a [%x;]>`, false},
		{`<!DOCTYPE a [<!INCLUDE x>]>`, false},
		{`<!DOCTYPE a [<![INCLUDE[]]>]>`, false},
		{`<!DOCTYPE a [<!-- -- -->]>`, false},
		{`<!DOCTYPE a [<?xml version="1.0"?>]>`, false},
		{`<!DOCTYPE a [<b/>]>`, false},
		{`<!DOCTYPE a [text]>`, false},
		{`<!DOCTYPE a [`, false},
	} {
		for _, block := range []int{0, 8} {
			res := read(t, strings.NewReader(tt.doctype+"<a><b/></a>"), Options{Record: "a/b"}, block)
			if ok := res.err == "" && len(res.lines) == 1; ok != tt.ok {
				t.Errorf("%s, block %d: %q, %s", tt.doctype, block, res.lines, res.err)
			}
		}
	}
}

func TestDeclaration(t *testing.T) {
	for _, tt := range []struct {
		declaration string
		ok          bool
	}{
		{`<?xml version="1.0"?>`, true},
		{`<?xml version='1.1'  encoding = "UTF-8" standalone="no" ?>`, true},
		{`<?xml version="1.0" encoding='x-mac.roman_2'?>`, true},
		{`<?xml version="1.0"?><?xml-stylesheet href="x"?>`, true},
		{`<?xml-stylesheet href="x"?>`, true},

		{`<?xml?>`, false},
		{`<?xml encoding="UTF-8"?>`, false},
		{`<?xml version="2.0"?>`, false},
		{`<?xml version="1."?>`, false},
		{`<?xml version=1.0?>`, false},
		{`<?xml version="1.0' ?>`, false},
		{`<?xml version="1.0"encoding="UTF-8"?>`, false},
		{`<?xml version="1.0" encoding=""?>`, false},
		{`<?xml version="1.0" encoding="8bit"?>`, false},
		{`<?xml version="1.0" encoding="a b"?>`, false},
		{`<?xml version="1.0" standalone="maybe"?>`, false},
		{`<?xml version="1.0" standalone="yes" encoding="UTF-8"?>`, false},
		{`<?xml version="1.0" version="1.0"?>`, false},
		{`<?xml version="1.0" x="y"?>`, false},
		{`<?xml version="1.0">`, false},
		{`<?XML version="1.0"?>`, false},
		{`<?xml:x version="1.0"?>`, false},
	} {
		for _, block := range []int{0, 8} {
			res := read(t, strings.NewReader(tt.declaration+"<a><b/></a>"), Options{Record: "a/b"}, block)
			if ok := res.err == "" && len(res.lines) == 1; ok != tt.ok {
				t.Errorf("%s, block %d: %q, %s", tt.declaration, block, res.lines, res.err)
			}
		}
	}
}
