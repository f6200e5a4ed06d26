import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import type { Client } from './client.ts';
import { connect, type ServerFlags } from './command.ts';
import { formatWhen } from './format.ts';
import { printTable } from './print-table.ts';
import { printLine, type Terminal } from './terminal.ts';
import { findTrigger, triggerPath } from './trigger.ts';

interface DeliveryView {
  readonly id: string;
  readonly received: string;
  readonly by: string;
  readonly event: string | null;
  readonly ref: string | null;
  readonly commit: string | null;
  readonly repeats: number;
  readonly outcome: string;
  readonly reason: string | null;
  readonly build_id: string | null;
}

export interface TriggerDeliveriesFlags extends ServerFlags {
  readonly limit: number;
}

/** What came to a trigger, newest first, and what became of it. */
export async function triggerDeliveries(
  terminal: Terminal,
  repository: string,
  id: string | undefined,
  flags: TriggerDeliveriesFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const trigger = await findTrigger(client, repository, id);
  printTable(terminal, await deliveriesOf(client, triggerPath(repository, trigger), flags.limit), {
    json: flags.json === true,
    empty: 'Nothing was delivered yet. Is the webhook installed, and can the host reach this server?',
    head: ['ID', 'RECEIVED', 'BY', 'REF', 'COMMIT', 'OUTCOME'],
    row: ({ id: delivery, received, by, ref, commit, outcome, reason, build_id }) => [
      delivery.slice(0, 8),
      formatWhen(received),
      by,
      (ref ?? '-').replace(/^refs\//, ''),
      commit?.slice(0, 7) ?? '-',
      build_id === null
        ? reason === null
          ? outcome
          : `${outcome}: ${reason}`
        : `build ${build_id.slice(0, 8)}`,
    ],
  });
  return exitStatus.ok;
}

/** Takes a delivery again; it is named by the first characters of its id, among the newest thousand. */
export async function triggerRedeliver(
  terminal: Terminal,
  repository: string,
  id: string,
  text: string,
  flags: ServerFlags,
): Promise<ExitStatus> {
  if (!/^[0-9a-f-]{4,36}$/.test(text)) throw new CliError('usage', `"${text}" is not the id of a delivery`);
  const { client } = await connect(terminal, flags);
  const path = triggerPath(repository, await findTrigger(client, repository, id));
  const found = (await deliveriesOf(client, path, 1000)).filter((delivery) => delivery.id.startsWith(text));
  const [first, second] = found;
  if (first === undefined)
    throw new CliError(
      'refused',
      `There is no delivery ${text}. List them with: slipway trigger deliveries ${repository} ${id}`,
    );
  if (second !== undefined)
    throw new CliError('usage', `More than one delivery starts with ${text}. Give more characters.`);
  const again = await client.post<DeliveryView>(`${path}/deliveries/${first.id}/redeliver`, {});
  printLine(terminal.stdout, flags.json ? JSON.stringify(again) : `Delivered again as ${again.id}`);
  return exitStatus.ok;
}

async function deliveriesOf(client: Client, path: string, most: number): Promise<readonly DeliveryView[]> {
  const found: DeliveryView[] = [];
  for (let page: string | undefined = ''; page !== undefined && found.length < most; ) {
    const query = new URLSearchParams({ limit: String(Math.min(100, most - found.length)) });
    if (page !== '') query.set('next_page', page);
    const answer: { readonly deliveries: DeliveryView[]; readonly next_page?: string } = await client.get(
      `${path}/deliveries?${query}`,
    );
    found.push(...answer.deliveries);
    page = answer.next_page;
  }
  return found;
}
