import Attention
import Sharding

extension RoutePlanner {
  /// What ranks exchange with those of their rows in one pass, tokens for heads and back.
  ///
  /// With A columns that divide query heads H and KV heads, and shards of n tokens, whose keys and
  /// values are κ bytes a token, a sequence costs
  ///
  /// - forward `(A − 1)/A · n · (4 · H · (D + Dv + 2) + κ)`: queries and blocks go out, outputs
  ///   come back with their log-sum-exps in two floats;
  /// - backward `(A − 1)/A · n · (4 · H · (2 · D + 2 · Dv + 2) + γ)`: queries, outputs and their
  ///   gradients go out, `dq`, `dk` and `dv` come back, where γ are the bytes of the gradients of a
  ///   key and its value, which is `4 · kvHeads · (D + Dv)` unless sums are reproducible.
  ///
  /// - Complexity: O(P), where the ranks of rows have shards of few different sizes.
  func exchangeTraffic(_ pass: AttentionPass, on grid: HeadGrid) -> RouteTraffic {
    let messages = ExchangedMessages(problem, pass)
    let heads = grid.shares(of: problem.shape).map { Pair($0.queryHeads.count, $0.kvHeads.count) }
    let hosts = topology.hosts
    let headKinds = counted(heads)
    var traffic = RouteTraffic(ranks: problem.ranks)
    traffic.steps = grid.columns > 1 ? 2 : 0
    for row in 0..<grid.rows {
      let members = grid.members(ofRow: row)
      let tokens = members.map {
        Pair(problem.queries.tokenCount(of: $0), problem.keys.tokenCount(of: $0))
      }
      let tokenKinds = counted(tokens)
      // What the members that share a host have together; bytes are proportional to both.
      var here: [Int: (heads: Pair, tokens: Pair)] = [:]
      for (column, rank) in members.enumerated() {
        here[hosts[rank], default: (Pair(0, 0), Pair(0, 0))].heads += heads[column]
        here[hosts[rank], default: (Pair(0, 0), Pair(0, 0))].tokens += tokens[column]
      }
      for (column, rank) in members.enumerated() {
        let (heads, tokens) = (heads[column], tokens[column])
        // With the part that a rank keeps, which is then taken off again.
        let kept = messages.out(tokens, to: heads) + messages.back(tokens, of: heads)
        var sent = headKinds.reduce(Message()) {
          $0 + messages.out(tokens, to: $1.value).times($1.count)
        }
        for kind in tokenKinds { sent += messages.back(kind.value, of: heads).times(kind.count) }
        let near = here[hosts[rank]] ?? (heads, tokens)
        let sentNear = messages.out(tokens, to: near.heads) + messages.back(near.tokens, of: heads)
        traffic.addExchange(
          sent - kept, toOtherHosts: sent.bytes - sentNear.bytes, of: rank)
      }
    }
    return traffic
  }
}

extension RouteTraffic {
  /// Adds what a rank exchanges for heads.
  fileprivate mutating func addExchange(_ message: Message, toOtherHosts: Double, of rank: Int) {
    bytesSent[rank] += message.bytes
    messagesSent[rank] += message.messages
    exchangedBytes[rank] += message.bytes
    bytesToOtherHosts[rank] += toOtherHosts
    exchangedToOtherHosts[rank] += toOtherHosts
  }
}

/// What one rank has for another of its row: a message for each tensor.
private struct ExchangedMessages {
  /// Numbers of a query and head, a tensor each, that go to the rank that has the head.
  private let rowsOut: [Int]
  /// Those that come back.
  private let rowsBack: [Int]
  /// Bytes of a key and KV head that go out, and that come back.
  private let keyOut: Int
  private let keyBack: Int
  private let batch: Int

  init(_ problem: ShardedAttention, _ pass: AttentionPass) {
    let shape = problem.shape
    let bytes = TravellingBytes(
      .keys, pass, shape: shape, wire: problem.wire, accumulation: problem.accumulation)
    batch = shape.batch
    let ofHead = { $0 / (shape.batch * shape.kvHeads) }
    switch pass {
    case .forward:
      rowsOut = [shape.headDim]
      rowsBack = [shape.valueHeadDim, 1, 1]
      (keyOut, keyBack) = (ofHead(bytes.block), 0)
    case .backward:
      rowsOut = [shape.headDim, shape.valueHeadDim, shape.valueHeadDim, 1, 1]
      rowsBack = [shape.headDim]
      (keyOut, keyBack) = (0, ofHead(bytes.result))
    }
  }

  /// From the rank that has tokens to the one that has heads.
  func out(_ tokens: Pair, to heads: Pair) -> Message {
    messages(rowsOut, keyOut, tokens, heads)
  }

  /// From the rank that has heads to the one that has tokens.
  func back(_ tokens: Pair, of heads: Pair) -> Message {
    messages(rowsBack, keyBack, tokens, heads)
  }

  private func messages(_ rows: [Int], _ key: Int, _ tokens: Pair, _ heads: Pair) -> Message {
    let queries = Double(batch) * Double(tokens.queries) * Double(heads.queries)
    let keys = Double(batch) * Double(tokens.keys) * Double(heads.keys)
    return rows.reduce(Message(of: keys * Double(key))) {
      $0 + Message(of: queries * Double($1 * MemoryLayout<Float>.stride))
    }
  }
}

/// Tokens, or heads, of queries and of keys.
private struct Pair: Hashable {
  var queries: Int
  var keys: Int

  init(_ queries: Int, _ keys: Int) {
    self.queries = queries
    self.keys = keys
  }

  static func += (left: inout Pair, right: Pair) {
    left.queries += right.queries
    left.keys += right.keys
  }
}

/// How often each value comes up.
private func counted<Value: Hashable>(_ values: [Value]) -> [(value: Value, count: Int)] {
  var counts: [Value: Int] = [:]
  for value in values { counts[value, default: 0] += 1 }
  return counts.map { ($0.key, $0.value) }
}
