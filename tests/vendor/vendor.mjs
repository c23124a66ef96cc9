// The vendor's own JavaScript client on the sandbox: `make vendor`.
//
// node vendor.mjs FOLDER PYTHON ACCOUNT INTRODUCTION
// FOLDER holds node_modules with the client, and commands.json: a documented request of each command.
// INTRODUCTION is the line that `serve` printed. What a call did is looked up in ACCOUNT, and answers are held to the client's own schemas. Prints a row
// for each check; exit code 1 if any is off.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

const [folder, python, account, introduction] = process.argv.slice(2)
const sdk = createRequire(path.join(path.resolve(folder), 'package.json'))('@membranehq/sdk')
const { url, workspaceKey, workspaceSecret, tenantKey, token } = JSON.parse(introduction)

const credentials = { workspaceKey, workspaceSecret, tenantKey }
const client = new sdk.MembraneClient({ apiUri: url, ...credentials })
const KARTRA = 'kartra'
const ADA = { id: 48110, email: 'ada@example.com' }

/** Rows of the account's own tables. */
function rows(sql) {
  const program = 'import json,sqlite3,sys;print(json.dumps(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()))'
  return JSON.parse(execFileSync(python, ['-c', program, account, sql], { encoding: 'utf8' }))
}

/** The sandbox's program, the other way into the same account. */
function sandbox(...words) {
  const line = ['-m', 'kartra_mcp.sandbox', `--account=${account}`, ...words, '--json']
  return JSON.parse(execFileSync(python, line, { encoding: 'utf8' }))
}

/** What a call was refused with. */
async function refusal(call) {
  try {
    await call()
  } catch (error) {
    return error
  }
  assert.fail('it was not refused')
}

/** An error of Membrane's as the client's own class; its data. */
async function membraneError(kind, key, call) {
  const error = await refusal(call)
  assert.ok(sdk.isMembraneError(error), `not Membrane's error: ${error}`)
  assert.ok(error instanceof kind, `${error.constructor.name} instead of ${kind.name}`)
  assert.equal(error.data.key, key)
  sdk.ErrorDataSchema.parse(error.data)
  assert.deepEqual(sdk.extractMembraneErrorData(error), error.data)
  return error.data
}

/** An answer that is no error of Membrane's; what axios says. */
async function transportError(call) {
  const error = await refusal(call)
  assert.ok(!sdk.isMembraneError(error) && error.isAxiosError, String(error))
  return error
}

const refundOf = (output) => output.actions[0].refund_transaction
const refunds = (id) => rows(`SELECT count(*) FROM transactions WHERE parent_id = ${id}`)[0][0]
const act = (body) => client.post('/act', sdk.ActRequest.parse(body))
const get = { get_lead: { id: ADA.id } }

let home // the connection to Kartra
let keys // of all actions
let run // the first run's id

const CHECKS = {
  'a token minted from the secret is taken': async () => {
    const self = sdk.TenantSelfResponse.parse(await client.self.get())
    assert.equal(self.workspaceKey, workspaceKey)
    assert.equal(self.internalId, tenantKey)
  },
  'so are an access token and a fetched one': async () => {
    for (const given of [{ token }, { accessToken: token }, { fetchToken: async () => token }]) {
      const other = new sdk.MembraneClient({ apiUri: url, ...given })
      assert.equal((await other.connections.find()).items.length, 1)
    }
  },
  'the tenant is changed, its credentials never shown': async () => {
    await client.setCredentials({ password: 'hidden' })
    const self = await client.self.patch({ name: 'Studio' })
    assert.equal((await client.self.get()).name, 'Studio')
    assert.ok(!JSON.stringify(self).includes('hidden'))
  },
  'connections are listed and looked at': async () => {
    const { items, cursor } = await client.connections.find({ limit: 10 })
    assert.equal(cursor, undefined)
    home = sdk.ConnectionApiResponse.parse(items[0])
    assert.equal(home.state, 'READY')
    assert.equal((await client.connection(home.id).get()).key, KARTRA)
    assert.equal((await client.connections.find({ integrationKey: 'other' })).items.length, 0)
  },
  'integrations are listed and looked at': async () => {
    const all = (await client.integrations.findAll()).map((one) => sdk.IntegrationListItem.parse(one))
    const one = sdk.IntegrationApiResponse.parse(await client.integration(KARTRA).get())
    assert.deepEqual([all.length, all[0].id, one.connection.id], [1, one.id, home.id])
    assert.equal((await client.integration(KARTRA).actions.list()).items.length, 20)
  },
  'the workspace is searched': async () => {
    const { items } = await client.get('/search', { q: 'kartra', elementType: 'integration' })
    assert.equal(sdk.WorkspaceElementSearchResult.parse(items[0]).element.key, KARTRA)
  },
  'all actions, as the client pages by itself': async () => {
    const all = (await client.actions.findAll()).map((one) => sdk.ActionApiResponse.parse(one))
    keys = all.map((action) => action.key)
    assert.equal(new Set(keys).size, 20)
  },
  'actions by pages of seven': async () => {
    const seen = []
    const sizes = []
    let cursor
    do {
      const page = await client.actions.find({ connectionId: home.id, limit: 7, cursor })
      seen.push(...page.items.map((action) => action.key))
      sizes.push(page.items.length)
      cursor = page.cursor
    } while (cursor)
    assert.deepEqual([sizes, seen], [[7, 7, 6], keys])
  },
  'actions of a connection, by an intent': async () => {
    const { items } = await client.actions.find({ connectionId: home.id, intent: 'refund a payment' })
    assert.equal(items[0].key, 'refund-transaction')
    const of = await client.connection(home.id).actions.list({ limit: 3 })
    assert.equal(of.items.length, 3)
  },
  'an action by its id, its key and an object': async () => {
    const one = await client.action('get-lead').get()
    assert.deepEqual(await client.action(one.id).get(), one)
    assert.deepEqual(await client.action({ key: 'get-lead' }).get(), one)
  },
  'a read by the id of its action': async () => {
    const { id } = await client.action('get-lead').get()
    const options = { connectionId: home.id }
    const ran = await client.action(id).run({ lead_id: ADA.id }, options)
    run = sdk.ActionRunResponse.parse(ran).actionRunId
    assert.equal(ran.output.lead_details.email, ADA.email)
  },
  'a write: its effect is in the account': async () => {
    const tagged = "SELECT count(*) FROM lead_tags JOIN tags ON id = tag_id WHERE lead_id = 48129 AND name = 'VIP'"
    assert.equal(rows(tagged)[0][0], 0)
    await client.action('assign-tag').run({ lead_id: 48129, tag_name: 'VIP' }, { connectionKey: KARTRA })
    assert.equal(rows(tagged)[0][0], 1)
  },
  'a run on the level of the connection': async () => {
    const ran = await client.connection(home.id).action('get-lead').run({ email: ADA.email })
    assert.equal(ran.output.lead_details.id, String(ADA.id))
  },
  'a refund by /act is done once': async () => {
    const body = { key: 'refund-transaction', connectionId: home.id, input: { transaction_id: 101 }, meta: { intent: 'i1' } }
    assert.equal(refundOf((await act(body)).output).status, 'Success')
    assert.equal(refundOf((await act(body)).output).type, '251')
    assert.equal(refunds(101), 1)
  },
  'of eight refunds at once one is done': async () => {
    const body = { key: 'refund-transaction', connectionId: home.id, input: { transaction_id: 102 } }
    const answers = await Promise.all(Array.from({ length: 8 }, () => act(body)))
    const done = answers.filter(({ output }) => refundOf(output).status === 'Success')
    assert.deepEqual([done.length, refunds(102)], [1, 1])
  },
  '/act without a connection takes the first in silence': async () => {
    const ran = await act({ key: 'get-lead', input: { lead_id: ADA.id } })
    const log = await client.get(`/action-run-logs/${ran.actionRunId}`)
    assert.equal(log.connectionId, home.id)
  },
  'a request by /act, with the alias of the client': async () => {
    const api = { method: 'POST', path: '/api', body: get }
    assert.equal((await act({ api, connectionId: home.id })).output.lead_details.email, ADA.email)
    const alias = { method: 'POST', url: '/api', data: get }
    assert.equal((await act({ api: alias, integrationKey: KARTRA })).output.status, 'Success')
  },
  'the proxy answers as Kartra does, by five methods': async () => {
    const { proxy } = client.connection(home.id)
    assert.equal((await proxy.post('/api', get)).lead_details.email, ADA.email)
    const refused = [await proxy.get('/api'), await proxy.put('/api', get), await proxy.patch('/api', get), await proxy.delete('/api')]
    assert.deepEqual(refused.map((one) => [one.status, one.type]), Array(4).fill(['Error', '224']))
    assert.equal((await transportError(() => proxy.get('/nothing'))).response.status, 404)
    const whole = await client.connection(KARTRA).proxy.post('https://app.kartra.com/api', get)
    assert.equal(whole.status, 'Success')
  },
  'a request that is described': async () => {
    const body = sdk.ConnectionProxyRequest.parse({ method: 'post', path: '/{where}', pathParameters: { where: 'api' }, data: get })
    const answer = await client.post(`/connections/${home.id}/request`, body)
    assert.deepEqual([answer.status, answer.body.lead_details.email], [200, ADA.email])
  },
  'a run log and its details': async () => {
    const { action, ...log } = await client.get(`/action-run-logs/${run}`)
    sdk.BaseActionRunLogRecord.parse(log)
    assert.deepEqual([log.status, log.input], ['success', { lead_id: ADA.id }])
    const again = await act(action) // the body of /act, which may be sent again
    assert.equal(again.output.lead_details.email, ADA.email)
    const { details } = await client.get(`/action-run-logs/${run}/details`)
    assert.equal(details.response.lead_details.email, ADA.email)
  },
  'run logs, filtered and by pages': async () => {
    const all = []
    let cursor
    do {
      const query = sdk.FindActionRunLogsQuery.parse({ connectionId: home.id, limit: 5, cursor })
      const page = await client.get('/action-run-logs', query)
      all.push(...page.items)
      cursor = page.cursor
    } while (cursor)
    assert.equal(all.length, rows('SELECT count(*) FROM run_logs')[0][0])
    assert.equal(new Set(all.map((one) => one.id)).size, all.length)
    assert.equal(all.filter((one) => one.meta?.intent === 'i1').length, 2)
    const failed = await client.get('/action-run-logs', { status: 'error' })
    assert.deepEqual(failed.items.map((one) => one.status), all.map((one) => one.status).filter((one) => one === 'error'))
    const later = await client.get('/action-run-logs', { from: '2999-01-01T00:00:00Z' })
    assert.equal(later.items.length, 0)
  },
  'not found': async () => {
    const none = 'f'.repeat(24)
    await membraneError(sdk.BadRequestError, 'not_found', () => client.connection(none).get())
    await membraneError(sdk.BadRequestError, 'not_found', () => client.action(none).run({}))
    await membraneError(sdk.BadRequestError, 'not_found', () => client.get(`/action-run-logs/${none}`))
    await membraneError(sdk.BadRequestError, 'not_found', () => client.flows.find())
  },
  'not authenticated': async () => {
    const wrong = new sdk.MembraneClient({ apiUri: url, ...credentials, workspaceSecret: 'x'.repeat(64) })
    await membraneError(sdk.BadRequestError, 'not_authenticated', () => wrong.self.get())
    sandbox('logout')
    await membraneError(sdk.BadRequestError, 'not_authenticated', () => client.self.get())
    sandbox('login')
  },
  'an input or a body of the wrong form': async () => {
    const key = 'validation_error'
    const { data } = await membraneError(sdk.BadRequestError, key, () => client.action('refund-transaction').run({}))
    assert.deepEqual(data.missing, ['transaction_id'])
    const wrong = [{}, { key: 'a', id: 'b' }, { key: 'get-lead', dryRun: true }, { key: 'get-lead', meta: null }]
    for (const body of wrong) {
      await membraneError(sdk.BadRequestError, key, () => client.post('/act', body))
    }
    assert.ok(wrong.slice(2).every((body) => !sdk.ActRequest.safeParse(body).success))
    await membraneError(sdk.BadRequestError, 'access_denied', () => client.post('/act', { code: '1' }))
  },
  'an action that failed, with its cause': async () => {
    const api = { method: 'GET', path: '/nothing' }
    const data = await membraneError(sdk.ActionRunError, 'not_found', () => act({ api }))
    assert.equal(data.causedByError.data.response.status, 404)
    const log = await client.get(`/action-run-logs/${data.data.actionRunId}`)
    assert.deepEqual([log.status, log.error.type], ['error', 'action_run'])
  },
  'a connection that is disconnected': async () => {
    sandbox('connection', 'set-state', home.id, 'READY', '--disconnected')
    const key = 'connection_is_defunct'
    await membraneError(sdk.ConnectionError, key, () => act({ key: 'get-lead', connectionId: home.id }))
    await membraneError(sdk.ConnectionError, key, () => client.connection(home.id).proxy.get('/api'))
    assert.equal((await client.connections.find({ disconnected: true })).items.length, 1)
    const waiting = await client.post(`/connections/${home.id}/reconnect`)
    assert.equal(waiting.clientAction.type, 'connect')
    const mended = await client.get(`/connections/${home.id}`, { wait: true, timeout: 1 })
    assert.equal(sdk.ConnectionApiResponse.parse(mended).state, 'READY')
  },
  'every kind of error in its own class': async () => {
    const lead = { key: 'get-lead', connectionId: home.id, input: { lead_id: ADA.id } }
    const kinds = [
      ['internal', sdk.InternalError],
      ['lock_timeout', sdk.ConcurrencyError],
      ['access_token_expired', sdk.ConnectionError],
      ['rate_limit_exceeded', sdk.BadRequestError],
      ['access_denied', sdk.BadRequestError],
    ]
    for (const [key, kind] of kinds) {
      sandbox('fault', 'set', 'get_lead', key)
      await membraneError(kind, key, () => act(lead))
    }
    sandbox('fault', 'set', 'get_lead', '429')
    await membraneError(sdk.ConnectionError, 'rate_limit_exceeded', () => act(lead))
  },
  'answers that are none': async () => {
    const body = { key: 'refund-transaction', connectionId: home.id, input: { transaction_id: 105, refund_amount: 1 } }
    const arrange = (kind, ...more) => sandbox('fault', 'set', 'refund_transaction', kind, ...more)
    const before = refunds(105)
    arrange('garbage')
    assert.equal((await transportError(() => act(body))).response.status, 502)
    arrange('cut')
    assert.match((await transportError(() => act(body))).message, /aborted/)
    assert.equal(refunds(105), before)
    arrange('killed', '--effect')
    assert.equal((await transportError(() => act(body))).code, 'ECONNRESET')
    assert.equal(refunds(105), before + 1)
    const [log] = (await client.get('/action-run-logs', { limit: 1 })).items
    assert.deepEqual([log.status, refundOf(log.output).status], ['success', 'Success'])
  },
  'connections are made, ensured, renamed, archived, restored': async () => {
    const made = sdk.ConnectionApiResponse.parse(await client.connections.create({ integrationKey: KARTRA, name: 'Second' }))
    assert.equal(made.state, 'CLIENT_ACTION_REQUIRED')
    const ensured = await client.post('/connections/ensure', sdk.EnsureConnectionRequest.parse({ appUrl: 'kartra.com' }))
    assert.equal(ensured.id, home.id)
    assert.equal((await client.connection(made.id).patch({ name: 'Third' })).name, 'Third')
    await client.connection(made.id).archive()
    assert.equal((await client.connections.find()).items.length, 1)
    assert.ok((await client.connection(made.id).get()).archivedAt)
    await client.post(`/connections/${made.id}/restore`)
    assert.equal((await client.connections.find({ search: 'Third' })).items.length, 1)
  },
  'each request is in the journal, its token is not': async () => {
    const { items } = sandbox('journal')
    const words = items.map((one) => one.argv)
    const acts = words.filter(([method, where]) => method === 'POST' && where === '/act')
    assert.ok(acts.some(([, , body]) => JSON.parse(body).meta?.intent === 'i1'))
    assert.ok(!JSON.stringify(words).includes(await client.getToken()))
  },
  'every command in its documented form': async () => {
    const commands = JSON.parse(readFileSync(path.join(folder, 'commands.json'), 'utf8'))
    const value = (sql) => rows(sql)[0]?.[0]
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' }
    sandbox('reset') // it empties the journal too, so that this check is the last
    for (const [cmd, { form, effect, after, holds }] of Object.entries(commands)) {
      const before = effect ? value(effect) : after
      const body = sdk.ConnectionProxyRequest.parse({ method: 'POST', path: '/api', headers, data: form })
      const answer = await client.post(`/connections/${home.id}/request`, body)
      const given = (answer.body.actions ?? []).find((one) => one[cmd])?.[cmd] ?? answer.body
      assert.equal(given.status, 'Success', `${cmd}: ${JSON.stringify(answer.body)}`)
      assert.ok(JSON.stringify(answer.body).includes(holds), cmd)
      if (effect) {
        assert.notEqual(before, after, cmd)
        assert.equal(value(effect), after, cmd)
        sandbox('reset')
      }
    }
    assert.equal(Object.keys(commands).length, 30)
  },
}

let off = 0
for (const [name, check] of Object.entries(CHECKS)) {
  const began = performance.now()
  let found = 'ok '
  let why = ''
  try {
    await check()
  } catch (error) {
    off += 1
    found = 'OFF'
    why = `\n${error.stack}`
  }
  console.log(`${found} ${String(Math.round(performance.now() - began)).padStart(5)} ms  ${name}${why}`)
}
console.log(`vendor: ${Object.keys(CHECKS).length - off} of ${Object.keys(CHECKS).length} are as the client wants it.`)
process.exit(off ? 1 : 0)
