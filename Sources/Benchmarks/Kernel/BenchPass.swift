import Attention
import Tensors

/// A pass that is measured, with its inputs.
protocol BenchPass: AnyObject {
  /// The (query, key) pairs of all heads that it computes.
  var pairs: Int { get }

  /// Runs it once.
  func run() throws

  /// How long rows were turned in the last run; 0 where none are.
  var turningSeconds: Double { get }

  /// Columns of all rows that are turned in a run.
  var turnedColumns: Int { get }
}

extension BenchPass {
  var turningSeconds: Double { 0 }
  var turnedColumns: Int { 0 }
}

/// A pass and the turning of its rows by their positions.
final class TurningPass: BenchPass {
  private let pass: any BenchPass
  private let backwards: Bool
  private let turning: RowTurning
  private(set) var turningSeconds = 0.0

  init(_ pass: any BenchPass, backwards: Bool, _ turning: RowTurning) {
    self.pass = pass
    self.backwards = backwards
    self.turning = turning
  }

  var pairs: Int { pass.pairs }
  var turnedColumns: Int { turning.columns }

  func run() throws {
    turningSeconds = try BenchClock.wall.seconds { try turning.run(backwards: backwards) }
    try pass.run()
  }
}

extension KernelPass {
  /// Useful floating-point operations of one (query, key) pair of one head.
  func flopsPerPair(_ shape: AttentionShape) -> Int {
    switch self {
    case .forward: shape.forwardFlopsPerPair
    case .backward: shape.backwardFlopsPerPair
    }
  }
}

/// Standard-normal inputs of one sequence.
struct BenchInputs {
  let shape: AttentionShape
  let tokens: Int
  let queryTokens: Int

  /// `[1, queryTokens, queryHeads, headDim]`.
  func queries() -> Tensor<Float> {
    random([1, queryTokens, shape.queryHeads, shape.headDim], tensor: 0)
  }

  /// `[1, tokens, kvHeads, headDim]`.
  func keys() -> Tensor<Float> { random([1, tokens, shape.kvHeads, shape.headDim], tensor: 1) }

  /// `[1, tokens, kvHeads, valueHeadDim]`.
  func values() -> Tensor<Float> {
    random([1, tokens, shape.kvHeads, shape.valueHeadDim], tensor: 2)
  }

  /// `[1, queryTokens, queryHeads, valueHeadDim]`.
  func outputGradient() -> Tensor<Float> {
    random([1, queryTokens, shape.queryHeads, shape.valueHeadDim], tensor: 3)
  }

  private func random(_ shape: Shape, tensor: UInt64) -> Tensor<Float> {
    var numbers = Tensor<Float>(zeros: shape)
    var span = numbers.mutableSpan
    RandomNormal(seed: 0, tensor: tensor).fill(&span, from: 0)
    return numbers
  }
}
