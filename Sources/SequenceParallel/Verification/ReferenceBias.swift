public import AttentionReference
import Synchronization
import Tensors

/// `s + b_ij`, with rows of the bias read again where they are asked for.
public struct ReferenceBias: ReferenceScoreRule {
  private let source: any BiasSource
  private let rows = Rows()

  /// Rows that have been read, some of them.
  private final class Rows: Sendable {
    let held = Mutex<[[Int]: [Float]]>([:])
  }

  /// Takes a bias.
  public init(_ source: any BiasSource) { self.source = source }

  /// `s + b_ij`; NaN where the bias cannot be read.
  public func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    let (b, h) = (source.shape[0] == 1 ? 0 : batch, source.shape[1] == 1 ? 0 : head)
    return s + Double(row(b, h, query)?[key] ?? .nan)
  }

  /// 1.
  public func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double { 1 }

  private func row(_ batch: Int, _ head: Int, _ query: Int) -> [Float]? {
    let place = [batch, head, query]
    if let row = rows.held.withLock({ $0[place] }) { return row }
    var row = [Float](repeating: 0, count: source.shape[3])
    var span = row.mutableSpan
    do {
      try source.read(
        batch: batch, head: head, query: query, keys: PositionRange(0..<source.shape[3]),
        into: &span)
    } catch { return nil }
    rows.held.withLock {
      if $0.count >= 256 { $0 = [:] }
      $0[place] = row
    }
    return row
  }
}
