package import Attention
package import MPI
import Reporting
package import SequenceParallel
package import Sharding

/// Attention over sequences of any length on any number of ranks.
package struct AttentionCase {
  /// Settles the route of some ranks, called by all of them together.
  package typealias Choice = (
    _ planner: RoutePlanner, _ gradients: Bool, _ members: borrowing Communicator
  ) throws -> Route

  package let shape: AttentionShape
  package let pattern: PatternChoice
  /// Nil for the best of each number of tokens and ranks.
  package let layout: Layout?
  package let wire: WireType
  package let arithmetic: Arithmetic
  package let threads: Int
  /// Keeps scores within it; nil if they stay as they are.
  package let softcap: Float?
  /// Whether linear biases are taken from scores.
  package let alibi: Bool
  /// What turns queries and keys of so many tokens before a pass, and gradients back after it, and
  /// its name; nil if nothing does.
  package let rotation: (name: String, of: (_ tokens: Int) throws -> RotaryPositions?)?
  /// The transport as it was asked for.
  package let transportName: String
  let chooseRoute: Choice

  package init(
    shape: AttentionShape, pattern: PatternChoice, layout: Layout?, wire: WireType,
    arithmetic: Arithmetic = .f32, threads: Int, softcap: Float? = nil, alibi: Bool = false,
    rotation: (name: String, of: (_ tokens: Int) throws -> RotaryPositions?)? = nil,
    transportName: String, chooseRoute: @escaping Choice
  ) {
    self.shape = shape
    self.pattern = pattern
    self.layout = layout
    self.wire = wire
    self.arithmetic = arithmetic
    self.threads = threads
    self.softcap = softcap
    self.alibi = alibi
    self.rotation = rotation
    self.transportName = transportName
    self.chooseRoute = chooseRoute
  }

  /// What is computed.
  package func problem(tokens: Int, ranks: Int) -> ShardedAttention {
    let inputs = self.pattern.drawnInputs(
      batch: shape.batch, queryHeads: shape.queryHeads, tokens: tokens, keyTokens: tokens)
    let pattern = self.pattern.pattern(inputs)
    let planner = LayoutPlanner(
      pattern, shape: shape, tokens: tokens, keyTokens: tokens, ranks: ranks)
    guard let sharding = planner.decide(layout)?.queries.strided(by: pattern.period) else {
      preconditionFailure("every layout goes without weights")
    }
    return ShardedAttention(
      shape: shape, queries: sharding, keys: sharding,
      pattern: pattern,
      scoreRule: RuleSequence.joining([
        softcap.map { SoftCap(limit: $0) },
        alibi ? Alibi(slopes: Alibi.slopes(heads: shape.queryHeads)) : nil,
        self.pattern.scoreRule(inputs),
      ]), wire: wire, arithmetic: arithmetic)
  }

  /// What becomes of scores and rows, as it was asked for; nil if they stay as they are.
  var rules: String? {
    let rules = [
      softcap.map { "softcap \($0)" }, alibi ? "alibi" : nil, rotation.map { "rope \($0.name)" },
    ].compactMap { $0 }
    return rules.isEmpty ? nil : rules.joined(separator: ", ")
  }

  /// Useful floating-point operations of a pass over a whole sequence.
  func flops(_ pass: KernelPass, tokens: Int) -> Double {
    pattern.pairs(tokens: tokens) * Double(shape.queryHeads * pass.flopsPerPair(shape))
  }

  /// Refuses so many pairs that no integer counts them.
  func requireCountable(tokens: Int) throws {
    // Masks of numbers are not drawn for that.
    let pairs =
      pattern.tensors.isEmpty
      ? pattern.pairs(tokens: tokens) : Double(tokens) * Double(tokens)
    guard pairs * Double(shape.queryHeads) < 0x1p61 else {
      throw UserError.usage(
        "\(grouped(tokens)) tokens of \(counted(shape.queryHeads, "head")) are more pairs than "
          + "can be counted; give fewer --tokens or --heads.")
    }
  }
}
