import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname, resolve } from 'node:path';
import { messageOf } from '../base/coded-error.ts';
import { checkAccountReach } from './account-reach.ts';
import { runCommand } from './command.ts';
import { devices, opens, remedy } from './devices.ts';
import { type Finding, missing, ok, warning } from './finding.ts';
import type { Lack } from './lack.ts';
import { mappersLack, namespacesLack, subordinateIdsLack } from './own-account.ts';
import type { SystemPackage } from './package-list.ts';
import { missingPackages, programPath } from './packages.ts';
import { findAccount } from './worker-account.ts';

/** Who builds run as. */
export interface BuildAccount {
  readonly name: string;
  /** Absent: it is not there yet. */
  readonly ids?: { readonly uid: number; readonly gid: number };
  /** It is the account of this process. */
  readonly own: boolean;
}

/** As root, builds run as an account of their own; else as whoever runs the server. */
export async function buildAccount(root: boolean, name = 'slipway-worker'): Promise<BuildAccount> {
  if (!root) {
    const { username, uid, gid } = userInfo();
    return { name: username, ids: { uid, gid }, own: true };
  }
  const ids = await findAccount(name);
  return { name, ...(ids === undefined ? {} : { ids }), own: false };
}

const versionOf: Readonly<Record<string, readonly string[]>> = {
  ssh: ['-V'],
  busybox: [],
  newuidmap: [],
  newgidmap: [],
  'ssh-keygen': [],
};

/** Each package, with the version that its first program says. */
export async function checkPackages(
  packages: readonly SystemPackage[],
  searchPath: string,
): Promise<readonly Finding[]> {
  const lacking = new Set(missingPackages(packages, searchPath));
  return await Promise.all(
    packages.map(async (each) => {
      const { name, why, programs } = each;
      if (lacking.has(each))
        return missing(
          name,
          `The package ${name}, which ${why}, is missing.`,
          `sudo apt-get update && sudo apt-get install -y --no-install-recommends ${name}`,
        );
      const [program = ''] = programs;
      const path = programPath(program, searchPath) ?? program;
      const flags = versionOf[program] ?? ['--version'];
      const said = flags.length === 0 ? undefined : await runCommand(path, flags);
      const version = said?.ok === true ? versionIn(said.output, program) : undefined;
      return ok(name, version === undefined ? path : `${version} (${path})`);
    }),
  );
}

/** What stands behind the program's own name, else the first that looks like one: some name their libraries' first. */
function versionIn(output: string, program: string): string | undefined {
  const shape = '\\d+(?:\\.\\d+)+[\\w.~+-]*';
  const own = new RegExp(`${program}\\D{1,20}(${shape})`).exec(output)?.[1];
  return own ?? new RegExp(shape).exec(output)?.[0];
}

/** What an account needs for rootless builds. */
export async function checkAccount(account: BuildAccount): Promise<readonly Finding[]> {
  const { name, ids, own } = account;
  const found: Finding[] = [];
  const noIds = await subordinateIdsLack(name, ids?.uid ?? -1);
  if (ids === undefined) {
    const useradd = `sudo useradd --system --user-group --no-create-home --home-dir /var/lib/${name} --shell /usr/sbin/nologin ${name}`;
    const mend = [useradd, ...(noIds === undefined ? [] : [noIds.mend])].join(' && ');
    found.push(missing('account', `There is no account ${name}, which builds run as.`, mend));
  } else {
    found.push(ok('account', `builds run as ${name} (uid ${ids.uid})`));
    found.push(byLack('subordinate ids', noIds, `${name} has 65536 user ids and group ids`));
  }
  found.push(byLack('id mapping', await mappersLack(), 'newuidmap and newgidmap may hand out ids'));
  found.push(await namespaces(account));
  for (const { path, why, required } of devices) {
    if (ids === undefined) continue;
    const closed = await opens(path, own ? undefined : ids);
    const said = `${path} cannot be opened by ${name} (${closed}), and ${why}.`;
    if (closed === undefined) found.push(ok(path, 'opens'));
    else found.push(required ? missing(path, said, remedy(path)) : warning(path, said, remedy(path)));
  }
  return found;
}

function byLack(name: string, lack: Lack | undefined, otherwise: string): Finding {
  return lack === undefined ? ok(name, otherwise) : missing(name, lack.what, lack.mend);
}

/** The kernel's settings say no more than that it is not forbidden to all: so one is made. */
async function namespaces({ ids, own, name }: BuildAccount): Promise<Finding> {
  const lack = await namespacesLack();
  if (lack !== undefined || ids === undefined)
    return byLack('user namespaces', lack, 'not forbidden by the kernel');
  const trial = ['unshare', '--user', '--map-root-user', '--mount', '--pid', '--fork', 'true'];
  const as = own ? [] : ['setpriv', `--reuid=${ids.uid}`, `--regid=${ids.gid}`, '--clear-groups', '--'];
  const [program = '', ...args] = [...as, ...trial];
  const { ok: works, output } = await runCommand(program, args);
  if (works) return ok('user namespaces', `${name} can make one`);
  return missing(
    'user namespaces',
    `${name} cannot make a user namespace, which rootless builds need: ${output}.`,
    existsSync('/proc/sys/kernel/apparmor_restrict_unprivileged_userns')
      ? 'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0'
      : 'sudo sysctl -w user.max_user_namespaces=15000',
  );
}

const gib = 1024 ** 3;
const enough = 10 * gib;
const tooLittle = gib;

/** Whether a server may have its data folder there, and builds get to what is theirs in it. */
export async function checkDataFolder(path: string, account: BuildAccount): Promise<readonly Finding[]> {
  const root = resolve(path);
  const there = existsSync(root);
  const nearest = nearestFolder(root);
  const found: Finding[] = [];
  try {
    if (!statSync(nearest).isDirectory()) throw new Error('it is no folder');
    accessSync(nearest, constants.W_OK | constants.X_OK);
    found.push(ok('data folder', there ? root : `${root} can be made`));
  } catch (thrown) {
    const me = userInfo().username;
    found.push(
      missing(
        'data folder',
        `${me} cannot write to ${nearest} (${messageOf(thrown)}), where the data folder ${root} is to be.`,
        `sudo install -d -m 0711 -o ${me} ${root}`,
      ),
    );
  }
  if (account.ids !== undefined && !account.own) {
    const own = { name: account.name, ...account.ids };
    // The folder itself lets others pass, once it is made.
    const way = await checkAccountReach({ account: own, paths: [there ? root : nearest] }).then(
      () => ok('way to the data folder', `${account.name} gets there`),
      (thrown: unknown) => {
        const said = messageOf(thrown);
        return missing('way to the data folder', said, /chmod \S+ \S+/.exec(said)?.[0]);
      },
    );
    found.push(way);
  }
  const { bavail, bsize } = await statfs(nearest);
  const free = bavail * bsize;
  const said = `${(free / gib).toFixed(1)} GiB are free where ${root} is`;
  const clean = `df -h ${nearest}`;
  if (free < tooLittle) found.push(missing('disk space', `Only ${said}; builds need more.`, clean));
  else if (free < enough)
    found.push(warning('disk space', `Only ${said}; layers of builds fill that soon.`, clean));
  else found.push(ok('disk space', said));
  return found;
}

/** The folder itself, or the next above it that is there. */
export function nearestFolder(path: string): string {
  let at = resolve(path);
  while (!existsSync(at)) at = dirname(at);
  return at;
}
