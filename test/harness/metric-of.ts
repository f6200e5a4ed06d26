/** What a server's /metrics says of one metric, all its labels together. */
export async function metricOf(origin: string, name: string): Promise<number> {
  const answer = await fetch(new URL('/metrics', origin));
  const lines = (await answer.text()).split('\n');
  const samples = lines.filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}
