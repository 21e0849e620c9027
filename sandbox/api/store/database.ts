import { DatabaseSync } from 'node:sqlite'

type Row = Readonly<{ resource: string; namespace: string; name: string; json: string }>

/** The state on disk: one row per object and the last resource version. A write is committed when it returns. */
export type Database = Disposable &
  Readonly<{
    load(): Readonly<{ version: number; rows: readonly Row[] }>
    put(row: Row, version: number): void
    remove(row: Omit<Row, 'json'>, version: number): void
  }>

// One process at a time: a second server on the same state would overwrite what it has not seen.
// WAL with synchronous=NORMAL: a commit is one write without fsync; a power cut may lose the last moments but
// never tears a transaction, and kill -9 loses nothing.
const schema = `
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS objects (
  resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,
  PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS version (id INTEGER PRIMARY KEY CHECK (id = 0), value INTEGER NOT NULL);
INSERT OR IGNORE INTO version VALUES (0, 1);
`

/** Opens or makes the database; `:memory:` is a store that nobody remembers. */
export function openDatabase(path: string): Database {
  const database = new DatabaseSync(path)
  database.exec(schema)
  const begin = database.prepare('BEGIN IMMEDIATE')
  const commit = database.prepare('COMMIT')
  const rollback = database.prepare('ROLLBACK')
  const insert = database.prepare('INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)')
  const drop = database.prepare('DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?')
  const advance = database.prepare('UPDATE version SET value = ? WHERE id = 0')
  const atomically = (version: number, write: () => void) => {
    begin.run()
    try {
      write()
      advance.run(version)
      commit.run()
    } catch (error) {
      rollback.run()
      throw error
    }
  }
  return {
    load: () => ({ version: loadVersion(database), rows: loadRows(database) }),
    put: ({ resource, namespace, name, json }, version) =>
      atomically(version, () => void insert.run(resource, namespace, name, json)),
    remove: ({ resource, namespace, name }, version) =>
      atomically(version, () => void drop.run(resource, namespace, name)),
    [Symbol.dispose]: () => database.close(),
  }
}

const loadVersion = (database: DatabaseSync): number =>
  Number(database.prepare('SELECT value FROM version').get()?.['value'] ?? 1)

const loadRows = (database: DatabaseSync): Row[] =>
  database
    .prepare('SELECT resource, namespace, name, json FROM objects')
    .all()
    .map((row) => ({
      resource: String(row['resource']),
      namespace: String(row['namespace']),
      name: String(row['name']),
      json: String(row['json']),
    }))
