// Package xlsxfmt reads one worksheet of an Excel workbook (ECMA-376, .xlsx
// and .xlsm) as records, as a stream: memory follows the workbook's distinct
// texts, never its rows.
//
// What it promises:
//
//   - All rows or an error. A sheet counts as read only when its closing tags,
//     the end of its zip member and the member's checksum were seen; anything
//     else is an *ingest.ReadError.
//   - Exact values. A number has the digits that the file holds, a percentage
//     is the number under it (0.25, not 25%). Only what is no JSON number is
//     put right ("+5", "007", ".5"). Text keeps its white space.
//   - Dates by number format, in the workbook's date system: 2026-03-05,
//     2026-03-05T13:05:00 or 13:05:00, as the format shows a date, both, or a
//     time. Times are rounded to the second, or to the fraction the format
//     shows. Elapsed times ([h]:mm) may pass 24 hours: 30:15:00. Excel's days
//     that never were stay what Excel shows: 1900-02-29, and 1900-01-00 for
//     day 0. A number that is no date in that system makes the row a fault.
//   - Booleans are true and false. An empty cell, a cell with an empty text
//     and #N/A are null. Any other error (#DIV/0!, …) makes the row a fault.
//     A formula is its cached value, null where it has none.
//   - A merged area's value stands in its top-left cell. Hidden rows and
//     columns are read like others; hidden sheets only when asked for.
//   - No cell is lost. A cell under no header is column_N, N being the column
//     of the sheet (A = 1). Empty rows make no record.
//
// The sheet is the one asked for by name or by number (worksheets in the order
// of their tabs, hidden ones counted, chart sheets not), else the first visible
// worksheet. The header is the row asked for, counted from the sheet's first
// row, else the first row (of the range) that holds anything.
//
// A record's line is its row. Its Raw is the row as a compact JSON array; an
// element {"K":5} stands for a cell (here in column K) that comes after a wide
// gap.
//
// Nothing in a workbook is trusted: members, sizes, ratio, overlap, depth,
// names, text and time are bounded (Limits), no DTD or entity is expanded, and
// nothing is ever written to disk.
package xlsxfmt
