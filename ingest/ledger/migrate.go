package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"fmt"
	"slices"
)

//go:embed schema/*.sql
var schema embed.FS

// migrations lists the schema's steps. A step that has landed never changes;
// its checksum in the ledger says which text made the tables.
func migrations() ([]string, error) {
	entries, err := schema.ReadDir("schema")
	if err != nil {
		return nil, err
	}
	var steps []string
	for _, e := range entries {
		b, err := schema.ReadFile("schema/" + e.Name())
		if err != nil {
			return nil, err
		}
		steps = append(steps, string(b))
	}
	return steps, nil
}

// A NewerError says that a newer ingestd wrote this ledger.
type NewerError struct {
	Path       string
	Have, Know int
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("%s has schema %d, this ingestd knows %d: run the newer ingestd that wrote it", e.Path, e.Have, e.Know)
}

// migrate brings the schema up to date, each step in a transaction of its own.
// before is called once, ahead of the first step on a ledger with content.
func migrate(ctx context.Context, conn *sql.Conn, path string, before func(from int) error) error {
	steps, err := migrations()
	if err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	var have int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if have > len(steps) {
		return &NewerError{Path: path, Have: have, Know: len(steps)}
	}
	for i := range have {
		sum := sha256.Sum256([]byte(steps[i]))
		var got []byte
		err := conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = ?", migrationKey(i)).Scan(&got)
		if err != nil {
			return fmt.Errorf("read checksum of schema %d: %w", i+1, err)
		}
		if !slices.Equal(got, sum[:]) {
			return fmt.Errorf("%s: schema %d was made by another text than this ingestd's: it is no ledger of a released version", path, i+1)
		}
	}
	if have == len(steps) {
		return nil
	}
	if have > 0 {
		if err := before(have); err != nil {
			return fmt.Errorf("copy before migration: %w", err)
		}
	}
	for i := have; i < len(steps); i++ {
		if err := migrateStep(ctx, conn, i, steps[i]); err != nil {
			return fmt.Errorf("migrate %s to schema %d: %w", path, i+1, err)
		}
	}
	return nil
}

func migrationKey(i int) string { return fmt.Sprintf("schema.%04d", i+1) }

func migrateStep(ctx context.Context, conn *sql.Conn, i int, text string) (err error) {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	if _, err := conn.ExecContext(ctx, text); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(text))
	if _, err := conn.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES (?, ?)", migrationKey(i), sum[:]); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", i+1)); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}
