import type { Command } from 'commander';
import { unreachable } from '../base/unreachable.ts';
import type { Shell } from './shells.ts';

interface Word {
  /** Command path, e.g. "repo create"; "" is the program itself. */
  readonly path: string;
  /** Subcommands, or the values an argument may have. */
  readonly commands: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly { readonly flag: string; readonly description: string }[];
}

/** A completion script for a shell, made from the commands and options there are; so it is never out of date. */
export function completionScript(program: Command, shell: Shell): string {
  const words = collect(program, '');
  switch (shell) {
    case 'bash':
      return bash(words);
    case 'zsh':
      // zsh runs bash's completion functions.
      return `autoload -Uz bashcompinit && bashcompinit\n${bash(words)}`;
    case 'fish':
      return fish(words);
    default:
      return unreachable(shell);
  }
}

function collect(command: Command, path: string): Word[] {
  const own: Word = {
    path,
    commands: [
      ...command.commands.map((sub) => ({
        name: sub.name(),
        description: sub.summary() || sub.description(),
      })),
      ...command.registeredArguments.flatMap(({ argChoices = [] }) =>
        argChoices.map((name) => ({ name, description: '' })),
      ),
    ],
    options: command.options.flatMap((option) =>
      option.long ? [{ flag: option.long, description: option.description }] : [],
    ),
  };
  return [
    own,
    ...command.commands.flatMap((sub) => collect(sub, path === '' ? sub.name() : `${path} ${sub.name()}`)),
  ];
}

function bash(words: readonly Word[]): string {
  const cases = words
    .map(({ path, commands, options }) => {
      const all = [...commands.map(({ name }) => name), ...options.map(({ flag }) => flag), '--help'];
      return `    ${JSON.stringify(path)}) words=${JSON.stringify(all.join(' '))} ;;`;
    })
    .join('\n');
  const paths = words.map(({ path }) => path).filter((path) => path !== '');
  return `# Completion for slipway. Load it with: source <(slipway completion bash)
_slipway() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="" words="" i word
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "\${path:+$path }$word" in
      ${paths.map((path) => JSON.stringify(path)).join('|')}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${cases}
  esac
  local IFS=$'\\n'
  COMPREPLY=($(IFS=' ' compgen -W "$words" -- "$current"))
  if [ \${#COMPREPLY[@]} -eq 0 ]; then COMPREPLY=($(compgen -f -- "$current")); fi
}
complete -o filenames -F _slipway slipway ./slipway
`;
}

function fish(words: readonly Word[]): string {
  const lines = words.flatMap(({ path, commands, options }) => {
    const condition =
      path === '' ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${path.split(' ').at(-1)}`;
    return [
      ...commands.map(
        ({ name, description }) =>
          `complete -c slipway -f -n '${condition}' -a ${name} -d '${quote(description)}'`,
      ),
      ...options.map(
        ({ flag, description }) =>
          `complete -c slipway -n '${condition}' -l ${flag.slice(2)} -d '${quote(description)}'`,
      ),
    ];
  });
  return `# Completion for slipway. Load it with: slipway completion fish | source\n${lines.join('\n')}\n`;
}

function quote(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll("'", "\\'");
}
