// Package config reads ingestd's config file: YAML, strict, with a position
// for everything.
//
// Load promises:
//
//   - All problems are found in one go and sorted by position, each with file,
//     line, column, the source line and, where there is one, the nearest valid
//     key, value or name. Nothing unknown is ignored.
//   - No secret shows: neither values of secret keys nor values that came from
//     ${env:…}, ${file:…} or ${credential:…} stand in a Problem, and source
//     lines are shown with secrets cut out.
//   - Texts are the characters of the file. 1.10, 022, NO and on stay what
//     they are where a text is wanted.
//   - Hostile files end in a Problem: size, depth, aliases, included files and
//     read-in values are bounded.
//
// Every block of the file is a struct with a method keys, the one table that
// says what may stand there: name, type, default and meaning. Decoding, the
// defaults, the reference in docs/config.md and the snapshots that arrivals
// keep all come from it. To add a key, add a field and its line in keys.
//
// Keys that this build parses but does not act on yet are marked later in that
// table; Config.Unsupported lists those that are in use, so that a daemon can
// refuse them instead of ignoring them.
//
// Rooms that check more (expressions, schemas) return errors by config path,
// such as pipelines.orders.record.key[0]; Config.Problem turns the path into a
// position.
package config
