/// Where the tokens of sequences stand, as plain functions of sequence and index.
public struct ReferenceTokenPositions: Sendable {
  /// The position of a query.
  public let query: @Sendable (_ batch: Int, _ token: Int) -> Double
  /// The position of a key.
  public let key: @Sendable (_ batch: Int, _ token: Int) -> Double

  /// Takes both.
  public init(
    query: @escaping @Sendable (_ batch: Int, _ token: Int) -> Double,
    key: @escaping @Sendable (_ batch: Int, _ token: Int) -> Double
  ) {
    self.query = query
    self.key = key
  }

  /// Indices, of which those of queries begin so far past those of keys.
  public init(offset: Int = 0) {
    self.init(query: { Double($1 + offset) }, key: { Double($1) })
  }

  /// Tables, `[batch][tokens]`.
  public init(queries: [[Int]], keys: [[Int]]) {
    self.init(query: { Double(queries[$0][$1]) }, key: { Double(keys[$0][$1]) })
  }
}
