import Glibc

/// What a head of an operator with a decaying state is computed from.
public struct ReferenceGatedHead {
  /// What decays are given for.
  public enum Gates: Sendable {
    /// Each token and key column: `[tokens, headDim]`.
    case keys
    /// Each token: `[tokens]`.
    case tokens
    /// Each key column: `[headDim]`.
    case all
  }

  /// `[tokens, headDim]`.
  public var q: [Double] = []
  /// `[tokens, headDim]`.
  public var k: [Double] = []
  /// `[tokens, valueHeadDim]`.
  public var v: [Double] = []
  /// Exponents of decays, as `gates` says.
  public var g: [Double] = []
  /// What decays are given for.
  public var gates = Gates.keys
  /// The bonus of a token for itself, `[headDim]`; empty where a token meets itself like others.
  public var u: [Double] = []
  /// `[headDim, valueHeadDim]`; empty for zeros.
  public var state: [Double] = []
  /// Columns of queries and keys.
  public var headDim = 1
  /// Columns of values.
  public var valueHeadDim = 1

  /// Nothing.
  public init() {}

  /// Outputs, and the state after the last token, by the recurrence, a token at a time.
  ///
  /// - Complexity: O(tokens · headDim · valueHeadDim).
  public func run() -> (o: [Double], state: [Double]) {
    let tokens = q.count / headDim
    let columns = valueHeadDim
    var s = state.isEmpty ? [Double](repeating: 0, count: headDim * columns) : state
    var o: [Double] = []
    func decay(_ token: Int, _ row: Int) -> Double {
      switch gates {
      case .keys: exp(g[token * headDim + row])
      case .tokens: exp(g[token])
      case .all: exp(g[row])
      }
    }
    for token in 0..<tokens {
      var output = [Double](repeating: 0, count: columns)
      for row in 0..<headDim {
        let (query, key) = (q[token * headDim + row], k[token * headDim + row])
        let a = decay(token, row)
        for column in 0..<columns {
          let product = key * v[token * columns + column]
          let place = row * columns + column
          if u.isEmpty {
            s[place] = a * s[place] + product
            output[column] += query * s[place]
          } else {
            output[column] += query * (s[place] + u[row] * product)
            s[place] = a * s[place] + product
          }
        }
      }
      o += output
    }
    return (o, s)
  }
}
