package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"ingestd/cmd/internal/daemon"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (a *app) hashPasswordCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hash-password",
		Short: "Read a password and print the hash that `password_hash` takes",
		Long: `Reads a password, on a terminal twice and without showing it, else one line of
standard input, and prints its bcrypt hash for sftp_server.users.NAME.password_hash.
The password is not stored and stands on no command line.`,
		Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			password, err := a.readPassword()
			if err != nil {
				return usage("hash-password: %w", err)
			}
			hash, err := daemon.HashPassword(password)
			if err != nil {
				return usage("hash-password: %w", err)
			}
			fmt.Fprintln(a.out, hash)
			return nil
		},
	}
}

func (a *app) readPassword() ([]byte, error) {
	if !a.inTerminal {
		line, err := bufio.NewReader(io.LimitReader(a.in, 4096)).ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
	ask := func(prompt string) ([]byte, error) {
		fmt.Fprint(a.err, prompt)
		defer fmt.Fprintln(a.err)
		return term.ReadPassword(int(os.Stdin.Fd()))
	}
	first, err := ask("Password: ")
	if err != nil {
		return nil, err
	}
	second, err := ask("Again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, errors.New("the two passwords differ")
	}
	return first, nil
}
