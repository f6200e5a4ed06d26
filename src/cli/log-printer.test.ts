import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { ManualClock } from '../base/clock.ts';
import { LogPrinter } from './log-printer.ts';

describe('LogPrinter', () => {
  it('prints phases as headings and joins the pieces of a long line', async () => {
    const memory = new MemoryTerminal();
    const printer = new LogPrinter(memory.terminal);
    await printer.print([
      { type: 'phase', message: 'building' },
      { type: 'command', message: 'STEP 1/2: FROM scratch' },
      { message: 'half a ', data: { partial: true } },
    ]);
    await printer.print([
      { message: 'line' },
      { message: 'cut off', data: { partial: true } },
      { type: 'phase', message: 'error' },
      { type: 'error', message: 'it failed' },
    ]);
    expect(memory.printed).toBe(
      '==> Building\nSTEP 1/2: FROM scratch\nhalf a line\ncut off\n==> Failed\nit failed\n',
    );
  });

  it('colours what it prints on a terminal, and says when a phase began', async () => {
    const clock = new ManualClock();
    const memory = new MemoryTerminal({ interactive: true, colour: true });
    const printer = new LogPrinter(memory.terminal, clock);
    await clock.advance(1500);
    await printer.print([
      { type: 'phase', message: 'pulling' },
      { type: 'command', message: 'step' },
      { message: '\u001b[31mred\u001b[2J' },
    ]);
    expect(memory.printed).toBe(
      '\u001b[36m==> Pulling base images\u001b[39m\u001b[2m (1.5 s)\u001b[22m\n' +
        '\u001b[1mstep\u001b[22m\n\u001b[31mred\u001b[0m\n',
    );
  });

  it('shows a phase it does not know, made harmless', async () => {
    const memory = new MemoryTerminal({ colour: true });
    await new LogPrinter(memory.terminal).print([{ type: 'phase', message: 'new\u001b[2J' }]);
    expect(memory.printed).toBe('\u001b[36m==> new\u001b[39m\n');
  });

  it('waits for a reader that is slower than the build', async () => {
    const stdout = new PassThrough({ highWaterMark: 4 });
    const { terminal } = new MemoryTerminal();
    let printed = false;
    const printing = new LogPrinter({ ...terminal, stdout })
      .print([{ message: 'more than four' }])
      .then(() => {
        printed = true;
      });
    await new Promise((resolve) => setImmediate(resolve));
    expect(printed).toBe(false);
    expect(String(stdout.read())).toBe('more than four\n');
    await printing;
    expect(printed).toBe(true);
  });
});
