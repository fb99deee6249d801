package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"ingestd/config"
)

// version is what the Go command stamped into the binary: a tag, or a pseudo
// version with the commit.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.out, "ingestd %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the config's JSON Schema, for editors",
		Long: `Prints the JSON Schema of the config: which keys there are, what they mean and
which words they take. An editor that knows YAML schemas completes and checks
with it; "ingestd check" says more, such as what is missing.

  ingestd schema > ingestd.schema.json
  # first line of ingestd.yaml:
  # yaml-language-server: $schema=ingestd.schema.json`,
		Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			s, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s\n", s)
			return err
		},
	}
}

func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:       "completion SHELL",
		Short:     "Print completions for bash, zsh, fish or powershell",
		Long:      "Prints a completion script. For bash: source <(ingestd completion bash)",
		Args:      exactly("a shell (bash, zsh, fish or powershell)"),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.out)
			}
			return usage("completion: %q is none of %v", args[0], shells)
		},
	}
}

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man [DIR]",
		Short: "Print the manual page, or write all pages into a directory",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Title: "INGESTD", Section: "1", Source: "ingestd " + version()}
			if len(args) == 0 {
				return doc.GenMan(root, header, a.out)
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return usage("man: %w", err)
			}
			// Every page takes its own title from its command.
			header.Title = ""
			return doc.GenManTree(root, header, args[0])
		},
	}
}
