public import AttentionReference
import Synchronization
import Tensors

/// The twin of ETC's labels, by the definition: `s + scale · (q_i · a_l + c_l)`, with queries read
/// again where they are asked for.
public struct ReferenceLabels: ReferenceScoreRule {
  private let q: any TokenRows
  let tables: LabelTables
  let distance: Int
  private let scale: Double
  let offset: Int
  let isGlobal: @Sendable (_ token: Int) -> Bool
  private let sentence: @Sendable (_ batch: Int, _ token: Int) -> Int
  private let rows = Rows()

  /// Rows that have been read, some of them.
  private final class Rows: Sendable {
    let held = Mutex<[[Int]: [Float]]>([:])
  }

  /// Describes them.
  ///
  /// - Parameters:
  ///   - q: the source of the queries.
  ///   - distance: where labels of distances end.
  ///   - scale: multiplies scores.
  ///   - offset: how far past its own index a query stands among the keys.
  ///   - isGlobal: whether the token of a key is a global one.
  ///   - sentence: of the token of a key; negative for none.
  public init(
    q: any TokenRows, tables: LabelTables, distance: Int, scale: Double, offset: Int,
    isGlobal: @escaping @Sendable (_ token: Int) -> Bool,
    sentence: @escaping @Sendable (_ batch: Int, _ token: Int) -> Int
  ) {
    self.q = q
    self.tables = tables
    self.distance = distance
    self.scale = scale
    self.offset = offset
    self.isGlobal = isGlobal
    self.sentence = sentence
  }

  /// The row of a label in the tables.
  package func row(_ batch: Int, _ query: Int, _ key: Int, _ head: Int) -> Int {
    let token = query + offset
    let label: Int
    if isGlobal(token) != isGlobal(key) {
      let own = sentence(batch, token)
      label = 2 * distance + (own >= 0 && own == sentence(batch, key) ? 2 : 1)
    } else if key >= token {
      label = min(key - token, distance)
    } else {
      label = distance + min(token - key, distance)
    }
    return ((isGlobal(token) ? tables.heads : 0) + head) * tables.labels + label
  }

  /// `s + scale · (q_i · a_l + c_l)`; NaN where the query cannot be read.
  public func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    guard let vector = vector(batch, query, head) else { return .nan }
    let row = row(batch, query, key, head)
    var sum = Double(tables.biases[row])
    for (column, number) in vector.enumerated() {
      sum += Double(number) * Double(tables.keys[row * tables.headDim + column])
    }
    return s + scale * sum
  }

  /// 1.
  public func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double { 1 }

  /// `scale · a_l`.
  public func queryGradient(batch: Int, query: Int, key: Int, head: Int) -> [Double]? {
    let first = row(batch, query, key, head) * tables.headDim
    return tables.keys[first..<first + tables.headDim].map { scale * Double($0) }
  }

  private func vector(_ batch: Int, _ query: Int, _ head: Int) -> ArraySlice<Float>? {
    let place = [batch, query]
    let columns = head * tables.headDim..<(head + 1) * tables.headDim
    if let row = rows.held.withLock({ $0[place] }) { return row[columns] }
    guard
      let row = try? q.rows(batch: batch, tokens: PositionRange(query..<query + 1))
    else { return nil }
    rows.held.withLock {
      if $0.count >= 4096 { $0 = [:] }
      $0[place] = row
    }
    return row[columns]
  }
}
