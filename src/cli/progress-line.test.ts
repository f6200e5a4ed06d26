import { describe, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { ManualClock } from '../base/clock.ts';
import { ProgressLine } from './progress-line.ts';

describe('ProgressLine', () => {
  it('rewrites one line, at most ten times a second, and takes it away', async () => {
    const clock = new ManualClock();
    const memory = new MemoryTerminal({ interactive: true });
    const line = new ProgressLine(memory.terminal, 'Uploading', clock);
    line.update(1024, undefined, '1 file');
    line.update(2048, undefined, '2 files');
    await clock.advance(100);
    line.update(4096, 8192);
    line.end();
    line.end();
    expect(memory.complained.split('\r\u001b[2K')).toEqual([
      '',
      'Uploading 1.0 KiB, 1 file',
      'Uploading [############............] 4.0 KiB of 8.0 KiB',
      '',
    ]);
    expect(memory.printed).toBe('');
  });

  it('never wraps', () => {
    const memory = new MemoryTerminal({ interactive: true, columns: () => 12 });
    new ProgressLine(memory.terminal, 'Uploading', new ManualClock()).update(1024, undefined, 'many files');
    expect(memory.complained).toBe('\r\u001b[2KUploading 1');
  });

  it('writes nothing into a pipe', () => {
    const memory = new MemoryTerminal();
    const line = new ProgressLine(memory.terminal, 'Uploading', new ManualClock());
    line.update(1, 2);
    line.end();
    expect(memory.complained).toBe('');
  });
});
