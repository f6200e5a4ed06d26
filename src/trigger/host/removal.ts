import type { HostClient } from '../git-host.ts';
import { HostError } from '../host-error.ts';

/**
 * Removes something that may be gone already. Hosts say "not found" also to an account that may not look: only when the
 * repository itself is there for the account, is the thing really gone.
 */
export async function removeIfThere(
  client: HostClient,
  repository: string,
  signal: AbortSignal,
  remove: () => Promise<void>,
): Promise<void> {
  try {
    await remove();
  } catch (thrown) {
    if (!(thrown instanceof HostError) || thrown.code !== 'not-found') throw thrown;
    const { admin } = await client.repository(repository, signal);
    if (!admin) throw thrown;
  }
}
