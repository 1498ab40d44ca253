import Compute
import Glibc
import KernelSets
import Tensors

/// A feed-forward part of many experts, of which each token goes to few: `Σ_e p_e · expert_e(n)`
/// over those with the largest logits `router · n + bias`, where `expert_e(n)` is
/// `down · (act(gate · n) ∘ up · n)` with biases.
///
/// Tokens of a chunk are gathered by expert, so that each expert's weights are widened once for all
/// of its tokens. A single token is multiplied by the rows of its experts alone. Work of a token is
/// that of its experts, memory that of all.
///
/// Source: Shazeer et al. 2017, Outrageously Large Neural Networks: The Sparsely-Gated
/// Mixture-of-Experts Layer, section 2.
struct ExpertMixture: FeedForward {
  /// One of the experts; biases may be empty.
  struct Expert: Sendable {
    /// `[hidden, width]` each.
    let gate, up: StoredMatrix
    let gateBias, upBias: [Float]
    /// `[width, hidden]`.
    let down: StoredMatrix
    let downBias: [Float]
  }

  /// What the weights of a token's experts are: a softmax of their logits.
  enum Weighing: Sendable {
    /// Over the chosen experts: weights are 1 together.
    case chosen
    /// Over all experts.
    case all
  }

  /// `[experts, width]`.
  let router: StoredMatrix
  /// Of its logits, or empty.
  let routerBias: [Float]
  let experts: [Expert]
  /// Experts of a token.
  let chosen: Int
  let weighing: Weighing
  /// What gates go through.
  let activation: Activation

  private var width: Int { router.inputs }
  private var hidden: Int { experts[0].up.outputs }

  private func matrices(_ expert: Expert) -> [StoredMatrix] {
    [expert.gate, expert.up, expert.down]
  }

  var matrices: [StoredMatrix] { [router] + experts.flatMap(matrices) }
  var multipliedBytes: Int { router.byteCount + chosen * matrices(experts[0]).byteCount }
  var productWidth: Int { chosen * 2 * hidden + width }
  var productWork: Int { [router].work + chosen * matrices(experts[0]).work }

  func add(
    to rows: inout MutableSpan<Float>, normalisedBy norm: Norm, _ blocks: DecoderBlocks
  ) {
    let count = rows.count / width
    blocks.room.normalise(rows.span, by: norm)
    let shares = shares(of: count, blocks.room)
    if count == 1 { return addToOne(&rows, shares[0], blocks.room) }
    var groups = experts.map { _ in (tokens: [Int](), weights: [Float]()) }
    for (token, own) in shares.enumerated() {
      for share in own {
        groups[share.expert].tokens.append(token)
        groups[share.expert].weights.append(share.weight)
      }
    }
    for (expert, group) in zip(experts, groups) where !group.tokens.isEmpty {
      add(expert, to: &rows, at: group.tokens, group.weights, of: count, blocks.room)
    }
  }

  // MARK: Choosing

  /// An expert of a token, and what its output is multiplied by.
  private struct Share {
    let expert: Int
    let weight: Float
  }

  /// The experts of normalised tokens, in their order, for each token.
  private func shares(of count: Int, _ room: BlockRoom) -> [[Share]] {
    var shares: [[Share]] = []
    room.normalised.read(0..<count * width) { input in
      room.projected.write(0..<count * experts.count) { logits in
        room.multiplyAlone(input, rows: count, by: [router], into: &logits)
        room.team.add(bias: routerBias.span, to: &logits)
        for token in 0..<count {
          let first = token * experts.count
          shares.append(self.shares(experts.indices.map { logits[first + $0] }))
        }
      }
    }
    return shares
  }

  /// The experts with the largest logits, the first of equal ones.
  private func shares(_ logits: [Float]) -> [Share] {
    let order = logits.indices.sorted {
      logits[$0] == logits[$1] ? $0 < $1 : logits[$0] > logits[$1]
    }
    let top = Double(logits[order[0]])
    let sum = order.prefix(weighing == .all ? logits.count : chosen).reduce(0.0) {
      $0 + exp(Double(logits[$1]) - top)
    }
    return order.prefix(chosen).sorted().map {
      Share(expert: $0, weight: Float(exp(Double(logits[$0]) - top) / sum))
    }
  }

  // MARK: Experts

  /// Adds what an expert makes of some of `count` normalised tokens, ranks sharing columns where
  /// they do.
  private func add(
    _ expert: Expert, to rows: inout MutableSpan<Float>, at tokens: [Int], _ weights: [Float],
    of count: Int, _ room: BlockRoom
  ) {
    let (size, team) = (tokens.count, room.team)
    room.normalised.read(0..<count * width) { all in
      room.hidden.write(0..<size * width) { part in
        team.gather(tokens, of: all, width: width, to: &part)
      }
    }
    room.hidden.read(0..<size * width) { part in
      room.projected.write(0..<2 * size * hidden) { both in
        room.multiply(part, rows: size, by: [expert.gate, expert.up], into: &both)
        team.add(bias: (expert.gateBias + expert.upBias).span, to: &both)
      }
    }
    activate(size, of: hidden, room)
    room.hidden.read(0..<size * hidden) { part in
      room.projected.write(0..<size * width) { product in
        room.multiply(part, rows: size, by: [expert.down], into: &product)
      }
    }
    room.projected.read(0..<size * width) { product in
      team.add(
        product, bias: expert.downBias.span, times: weights, width: width, to: &rows, at: tokens)
    }
  }

  /// Gates numbers in the room.
  private func activate(_ rows: Int, of width: Int, _ room: BlockRoom) {
    room.projected.read(0..<2 * rows * width) { both in
      room.hidden.write(0..<rows * width) { hidden in
        activation.applyGated(both, width: width, into: &hidden, team: room.team)
      }
    }
  }

  /// Adds what its experts make of the only token, ranks sharing columns where they do.
  private func addToOne(_ row: inout MutableSpan<Float>, _ shares: [Share], _ room: BlockRoom) {
    let (hidden, own) = (hidden, shares.map { experts[$0.expert] })
    let size = own.count * hidden
    room.normalised.read(0..<width) { input in
      room.projected.write(0..<2 * size) { both in
        room.multiply(input, rows: 1, by: own.map(\.gate) + own.map(\.up), into: &both)
        let bias = own.flatMap(\.gateBias) + own.flatMap(\.upBias)
        room.team.add(bias: bias.span, to: &both)
      }
    }
    activate(1, of: size, room)
    room.hidden.read(0..<size) { numbers in
      room.addShared(to: &row) { columns, sums in
        var product = [Float](repeating: 0, count: columns.count)
        for (number, expert) in own.enumerated() {
          var span = product.mutableSpan
          room.multiplyAlone(
            numbers.extracting(number * hidden..<(number + 1) * hidden), rows: 1,
            by: [expert.down.rows(columns)], into: &span)
          let bias = expert.downBias.isEmpty ? [] : Array(expert.downBias[columns])
          room.team.add(
            product.span, bias: bias.span, times: [shares[number].weight], width: columns.count,
            to: &sums, at: [0])
        }
      }
    }
  }
}
