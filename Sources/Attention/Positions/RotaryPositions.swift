import Glibc
public import Tensors

/// Rotary positions: pairs of columns of queries and keys are turned by an angle that grows with
/// the position, so that `q·k` depends on the distance of the two.
///
/// The pair k of a row at position p becomes `(x cos pθ_k − y sin pθ_k, y cos pθ_k + x sin pθ_k)`,
/// times a magnitude. Values stay as they are. It is done to a rank's own rows before they meet
/// any others; nothing more travels. Angles are worked out in `Double`: right at any position.
///
/// Sines and cosines are those of every sixteenth position, turned further by up to fifteen, in
/// `Double` too: what comes out depends on the position alone, whoever asks.
///
/// Cost: a product of two complex numbers for each pair of a token, and six operations, in vectors,
/// for each pair of a head.
///
/// Source: Su et al. 2021, RoFormer, section 3.2.
public struct RotaryPositions: Hashable, Sendable {
  /// Which columns are a pair.
  public enum Pairing: String, Hashable, Sendable, CaseIterable {
    /// Column k and column k + D/2.
    case half
    /// Columns 2k and 2k + 1.
    case interleaved
  }

  /// Which columns are a pair.
  public let pairing: Pairing
  /// θ, radians a token, one for each pair; the first `2 · count` columns of a head are turned.
  public let frequencies: [Double]
  /// What turned columns are multiplied by.
  public let magnitude: Double
  /// `[positionsOfAnchor][pairs]`: sines and cosines of the first positions.
  private let first: [Turn]

  /// A turn by an angle: its cosine and its sine.
  private typealias Turn = SIMD2<Double>
  /// How far positions are apart whose sines and cosines are asked for.
  private static let positionsOfAnchor = 16

  /// Describes the positions of a sequence; all ranks must give the same values.
  ///
  /// - Parameters:
  ///   - columns: turned columns of a head, the first ones; even.
  ///   - base: b.
  ///   - tokens: keys of the whole sequence, on which some scalings depend.
  public init(
    _ pairing: Pairing, columns: Int, base: Double = 10_000, scaling: RotaryScaling = .none,
    tokens: Int
  ) {
    precondition(columns >= 2 && columns % 2 == 0, "\(columns) columns are not pairs")
    self.pairing = pairing
    (frequencies, magnitude) = scaling.frequencies(columns: columns, base: base, tokens: tokens)
    precondition(frequencies.count == columns / 2, "a factor for each of \(columns / 2) pairs")
    first = Self.firstTurns(frequencies)
  }

  private static func firstTurns(_ frequencies: [Double]) -> [Turn] {
    (0..<positionsOfAnchor).flatMap { turns(of: $0, frequencies) }
  }

  private static func turns(of position: Int, _ frequencies: [Double]) -> [Turn] {
    frequencies.map { frequency in
      let angle = Double(position) * frequency
      return Turn(cos(angle), sin(angle))
    }
  }

  /// Turns rows by their positions.
  ///
  /// - Parameters:
  ///   - rows: `[positions.count, heads, headDim]`.
  ///   - positions: of the rows, in their order.
  ///   - backwards: by the negative angles, which is what turns the gradients of turned rows into
  ///     those of the rows as they were.
  public func turn(
    _ rows: inout MutableSpan<Float>, heads: Int, headDim: Int,
    positions: some Collection<Int>, backwards: Bool = false
  ) {
    precondition(rows.count == positions.count * heads * headDim, "rows of another shape")
    precondition(2 * frequencies.count <= headDim, "more columns to turn than there are")
    if positions.isEmpty { return }
    var angles = RowAngles(pairing, pairs: frequencies.count)
    var (anchor, turns) = (Int?.none, [Turn]())
    for (row, position) in positions.enumerated() {
      // Rounded down, where positions are negative too.
      let steps = position & (Self.positionsOfAnchor - 1)
      if anchor != position - steps {
        anchor = position - steps
        turns = Self.turns(of: position - steps, frequencies)
      }
      for pair in turns.indices {
        let (a, b) = (turns[pair], first[steps * turns.count + pair])
        let cosine = magnitude * (a.x * b.x - a.y * b.y)
        let sine = magnitude * (a.y * b.x + a.x * b.y)
        angles.set(pair, cosine: Float(cosine), sine: Float(backwards ? -sine : sine))
      }
      for head in 0..<heads {
        let start = (row * heads + head) * headDim
        var columns = rows.part(start..<start + 2 * turns.count)
        angles.turn(&columns)
      }
    }
  }

  /// The same pairs and frequencies with rows as long as they were: what turns rows further.
  public var turningAlone: RotaryPositions {
    RotaryPositions(pairing: pairing, frequencies: frequencies, magnitude: 1)
  }

  private init(pairing: Pairing, frequencies: [Double], magnitude: Double) {
    (self.pairing, self.frequencies, self.magnitude) = (pairing, frequencies, magnitude)
    first = Self.firstTurns(frequencies)
  }

  /// Turns the rows of a shard by their positions.
  ///
  /// - Parameters:
  ///   - tensor: `[batch, tokens of the shard, heads, headDim]`.
  ///   - runs: their indices.
  ///   - positions: of the tokens of the sequences.
  ///   - backwards: as in ``turn(_:heads:headDim:positions:backwards:)``.
  public func turn(
    _ tensor: inout Tensor<Float>, runs: [PositionRange],
    positions: TokenPositions = TokenPositions(), backwards: Bool = false
  ) {
    turn(&tensor, runs: runs, backwards: backwards) { positions[$0, $1] }
  }

  /// The same by positions that are any function of sequence and index.
  public func turn(
    _ tensor: inout Tensor<Float>, runs: [PositionRange], backwards: Bool = false,
    position: (_ batch: Int, _ token: Int) -> Int
  ) {
    let (batch, heads, headDim) = (tensor.shape[0], tensor.shape[2], tensor.shape[3])
    precondition(
      tensor.shape[1] == runs.reduce(0) { $0 + $1.count }, "rows of other positions")
    var start = 0
    var numbers = tensor.mutableSpan
    for sequence in 0..<batch {
      for run in runs {
        let end = start + run.count * heads * headDim
        var part = numbers.part(start..<end)
        turn(
          &part, heads: heads, headDim: headDim,
          positions: run.map { position(sequence, $0) }, backwards: backwards)
        start = end
      }
    }
  }
}
