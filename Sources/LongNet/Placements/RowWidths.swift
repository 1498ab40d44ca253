/// Floats that travel with a row of a query head, and with one of a KV head.
package struct RowWidths: Hashable, Sendable {
  package let query: Int
  package let key: Int
}
