package config

const referenceHead = `# Config reference

<!-- Generated from the table of keys in config/ by "go generate ./config"; do not edit. -->

The config is one YAML file, and what it includes. ` + "`ingestd check -c FILE`" + ` says all that is wrong with it, each with
file, line, column and the nearest valid key. Nothing unknown is ignored. Keys and values marked *later* are
understood and checked, but this build refuses to run with them.

**Types.** *text*: the characters as they stand (` + "`1.10`, `022` and `no`" + ` stay what they are). *duration*: ` + "`500ms`, `2s`, `5m`, `1h30m`, `90d`, `2w`" + `;
m is minutes, a day has 24 hours. *size*: bytes, or ` + "`64KiB`, `10MB`, `1.5GiB`" + ` (KB, MB, GB, TB are powers of 1,000; KiB, MiB, GiB, TiB of 1,024).
*rate*: ` + "`50/s`, `100/m`, `1000/h`" + `. *status*: ` + "`200`, `2xx`, `200-204`" + `. *path*: relative ones start from the directory of the main
config file, also in included files. *glob*: ` + "`*`, `?`, `[a-z]`, `{a,b}`, `**`" + `; ASCII case is ignored. *secret*: a text that is never shown.

**From outside.** Values may hold ` + "`${env:NAME}`, `${file:PATH}`" + ` (the last line end is cut) and ` + "`${credential:NAME}`" + ` (a file in systemd's
credentials directory); ` + "`$${` is a literal `${`" + `. Inside ` + "`{…}`" + ` and ` + "`[…]`" + ` YAML wants quotes around what holds braces. What is missing is an error. Secrets read so are
read again on SIGHUP.

**Sharing.** ` + "`include`" + ` reads further files; ` + "`defaults`" + ` says what pipelines and sinks take where they say nothing; top-level keys that begin
with ` + "`x-`" + ` are left alone, for anchors; aliases (` + "`*name`" + `) and merge keys (` + "`<<`" + `) work. A file has at most 1 MiB, all files
together at most 100,000 values.

**Names** of pipelines, sinks and users have letters a-z, digits, ` + "`_`, `-` and `.`" + `, at most 64.
`
