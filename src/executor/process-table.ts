import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { sep } from 'node:path';

/** A process for good: a pid alone may be given to another process, or mean another one after a restart. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot, as /proc says it. */
  readonly startTime: string;
  readonly bootId: string;
}

interface Stat {
  readonly state: string;
  readonly startTime: string;
}

/** Linux names of the running boot; empty where /proc is not mounted. */
export function currentBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}

function readStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name stands in brackets and may hold anything, brackets and spaces too.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const [state] = fields;
    const startTime = fields[19];
    if (state === undefined || startTime === undefined) return undefined;
    return { state, startTime };
  } catch {
    return undefined;
  }
}

/** Undefined when there is no such process (a zombie is none). */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  if (stat === undefined || isDead(stat)) return undefined;
  return { pid, startTime: stat.startTime, bootId: currentBootId() };
}

export function isRunning(process: ProcessIdentity): boolean {
  if (process.bootId !== currentBootId()) return false;
  return identify(process.pid)?.startTime === process.startTime;
}

function isDead(stat: Stat): boolean {
  return stat.state === 'Z' || stat.state === 'X';
}

/**
 * Processes that work in a folder (or below it) or carry `marker` ("NAME=value") in their environment, as far as this
 * account may see them. The process that asks is never one of them.
 */
export function processesMarked(folder: string, marker: string): readonly number[] {
  return pids().filter((pid) => {
    const stat = readStat(pid);
    if (pid === process.pid || stat === undefined || isDead(stat)) return false;
    return worksIn(pid, folder) || hasEnvironment(pid, marker);
  });
}

function worksIn(pid: number, folder: string): boolean {
  try {
    const current = readlinkSync(`/proc/${pid}/cwd`);
    return current === folder || current.startsWith(folder + sep) || current === `${folder} (deleted)`;
  } catch {
    return false;
  }
}

function hasEnvironment(pid: number, marker: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(marker);
  } catch {
    return false;
  }
}

function pids(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^[0-9]+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

/** Sends a signal to a process, or with a negative number to a group. False: it is not there (any more). */
export function signal(target: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(target, name);
    return true;
  } catch {
    return false;
  }
}
