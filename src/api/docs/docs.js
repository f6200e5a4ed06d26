// Shows the OpenAPI document of this server. Everything is put in place as text, never as markup.

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== undefined && child !== ''));
  return made;
}

function withCode(text) {
  return text
    .split(/(`[^`]+`)/)
    .map((part) => (part.startsWith('`') ? element('code', { textContent: part.slice(1, -1) }) : part));
}

const response = await fetch('/api/v1/openapi.json');
const api = await response.json();

function resolve(schema) {
  const name = schema.$ref?.split('/').at(-1);
  return name === undefined ? schema : (api.components.schemas[name] ?? {});
}

function typeWords(schema) {
  if (schema.$ref !== undefined) return schema.$ref.split('/').at(-1);
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeWords).join(' or ');
  if (schema.allOf !== undefined) return schema.allOf.map(typeWords).join(' and ');
  if (schema.type === 'array') return `list of ${typeWords(schema.items ?? {})}`;
  if (schema.type === 'object' && schema.patternProperties !== undefined)
    return `map of ${Object.values(schema.patternProperties).map(typeWords).join(', ')}`;
  return [schema.type ?? 'anything', schema.format].filter(Boolean).join(', ');
}

function limits(schema) {
  const words = [];
  if (schema.default !== undefined) words.push(`default ${JSON.stringify(schema.default)}`);
  if (schema.minimum !== undefined) words.push(`at least ${schema.minimum}`);
  if (schema.maximum !== undefined && schema.maximum < Number.MAX_SAFE_INTEGER)
    words.push(`at most ${schema.maximum}`);
  return words.join(', ');
}

// The objects inside a schema whose fields are worth showing.
function objectsIn(schema) {
  const found = resolve(schema);
  if (found.properties !== undefined) return [found];
  if (found.items !== undefined) return objectsIn(found.items);
  return [
    ...(found.anyOf ?? []),
    ...(found.allOf ?? []),
    ...Object.values(found.patternProperties ?? {}),
  ].flatMap(objectsIn);
}

function row(name, schema, required, description, depth) {
  const inner = depth < 4 ? objectsIn(schema) : [];
  return element(
    'tr',
    {},
    element(
      'td',
      {},
      element('code', { textContent: name }),
      required ? element('span', { className: 'required', textContent: 'required' }) : '',
    ),
    element(
      'td',
      {},
      element('span', {
        className: 'type',
        textContent: [typeWords(schema), limits(schema)].filter(Boolean).join('; '),
      }),
      description === undefined ? '' : element('div', {}, ...withCode(description)),
      inner.length === 0
        ? ''
        : element(
            'details',
            { className: 'nested' },
            element('summary', { textContent: 'Fields' }),
            ...inner.map((each) => fields(each, depth + 1)),
          ),
    ),
  );
}

function fields(schema, depth) {
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties).map(([name, property]) =>
    row(name, property, required.has(name) && property.default === undefined, property.description, depth),
  );
  return element('table', {}, element('tbody', {}, ...rows));
}

function body(title, content) {
  return Object.entries(content ?? {}).flatMap(([type, { schema }]) => {
    const objects = schema === undefined ? [] : objectsIn(schema);
    return [
      element('h3', {}, `${title} · ${type}${schema?.$ref === undefined ? '' : ` · ${typeWords(schema)}`}`),
      ...(objects.length > 0
        ? objects.map((each) => fields(each, 0))
        : [
            element('p', {
              className: 'muted',
              textContent: schema === undefined ? 'Bytes.' : typeWords(schema),
            }),
          ]),
    ];
  });
}

function pathWords(path) {
  return path
    .split(/(\{[^}]+\})/)
    .map((part) => (part.startsWith('{') ? element('b', { textContent: part }) : part));
}

function curl(path, method, operation) {
  const words = ['curl'];
  if (method !== 'get') words.push('-X', method.toUpperCase());
  if (operation.security !== undefined) words.push("-H 'Authorization: Bearer slp_…'");
  if (operation.requestBody?.content['application/json'] !== undefined)
    words.push("-H 'Content-Type: application/json' -d '{…}'");
  if (operation.requestBody?.content['application/octet-stream'] !== undefined)
    words.push('--data-binary @file');
  if (operation.responses['200']?.content?.['text/event-stream'] !== undefined) words.push('-N');
  words.push(`${location.origin}${path}`);
  return words.join(' ');
}

function show(path, method, operation) {
  const detail = element('div', { className: 'detail' });
  const shown = element(
    'details',
    { className: 'operation', id: operation.operationId },
    element(
      'summary',
      {},
      element('span', { className: `method ${method}`, textContent: method.toUpperCase() }),
      element('span', { className: 'path' }, ...pathWords(path)),
      element('span', { className: 'summary', textContent: operation.summary }),
    ),
    detail,
  );
  const fill = () => {
    if (!shown.open || detail.childElementCount > 0) return;
    detail.append(...operation.description.split('\n\n').map((text) => element('p', {}, ...withCode(text))));
    if (operation.parameters.length > 0)
      detail.append(
        element('h3', { textContent: 'Parameters' }),
        element(
          'table',
          {},
          element(
            'tbody',
            {},
            ...operation.parameters.map((each) =>
              row(`${each.name} (${each.in})`, each.schema, each.required, each.description, 4),
            ),
          ),
        ),
      );
    detail.append(...body('Body', operation.requestBody?.content));
    for (const [status, answer] of Object.entries(operation.responses)) {
      if (status === 'default') continue;
      const parts = body(`Answer ${status}`, answer.content);
      detail.append(
        ...(parts.length > 0 ? parts : [element('h3', { textContent: `Answer ${status} · no body` })]),
      );
    }
    detail.append(
      element('h3', { textContent: 'Example' }),
      element('pre', { textContent: curl(path, method, operation) }),
    );
  };
  shown.addEventListener('toggle', fill);
  return shown;
}

const groups = new Map();
for (const [path, operations] of Object.entries(api.paths))
  for (const [method, operation] of Object.entries(operations)) {
    const tag = operation.tags[0] ?? 'other';
    if (!groups.has(tag)) groups.set(tag, []);
    groups.get(tag).push({ path, method, operation, node: show(path, method, operation) });
  }

document.getElementById('version').textContent = api.info.version;
document.getElementById('about').textContent = api.info.description;
const operations = document.getElementById('operations');
const contents = document.getElementById('contents');
operations.replaceChildren();
const order = [
  'builds',
  'logs',
  'files',
  'repositories',
  'user',
  'superuser',
  'health',
  'errors',
  'documentation',
];
const rank = (tag) => (order.includes(tag) ? order.indexOf(tag) : order.length);
for (const [tag, entries] of [...groups].sort(([a], [b]) => rank(a) - rank(b))) {
  operations.append(
    element(
      'section',
      { className: 'group', id: `group-${tag}` },
      element('h2', { textContent: tag }),
      ...entries.map(({ node }) => node),
    ),
  );
  contents.append(
    element('h2', { textContent: tag }),
    element(
      'ul',
      {},
      ...entries.map(({ operation }) =>
        element(
          'li',
          {},
          element('a', { href: `#${operation.operationId}`, textContent: operation.summary }),
        ),
      ),
    ),
  );
}

function openFromAddress() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target === null || target.tagName !== 'DETAILS') return;
  target.open = true;
  target.scrollIntoView();
}
addEventListener('hashchange', openFromAddress);
openFromAddress();

document.getElementById('search').addEventListener('input', (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const [tag, entries] of groups) {
    let any = false;
    for (const { path, method, operation, node } of entries) {
      const text =
        `${method} ${path} ${operation.summary} ${operation.description} ${operation.operationId}`.toLowerCase();
      node.hidden = !words.every((word) => text.includes(word));
      any ||= !node.hidden;
    }
    document.getElementById(`group-${tag}`).hidden = !any;
  }
});
