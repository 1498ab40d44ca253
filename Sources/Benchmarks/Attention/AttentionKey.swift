import Attention
import Reporting
import Results
import SequenceParallel
import Sharding

/// What attention a row is about: the fields that such rows of all benchmarks have.
struct AttentionKey: Encodable {
  /// Its fields stand beside those that are named below.
  let pattern: PatternChoice
  let pass: KernelPass
  let ranks: Int
  let hosts: Int
  let threads: Int
  /// Of the whole sequence.
  let tokens: Int
  /// Of the rank that has most.
  let tokensPerRank: Int
  let queryHeads: Int
  let kvHeads: Int
  let headDim: Int
  let valueHeadDim: Int
  let layout: String
  /// As it was asked for.
  let transport: String
  let wire: String
  /// What products are computed of; null if of `Float`.
  let arithmetic: Nullable<String>
  /// What becomes of scores and rows; null if they stay as they are.
  let rules: Nullable<String>
  /// What was taken, where it was not named; no key.
  let chosenTransport: String

  private enum CodingKeys: CodingKey {
    case pass, ranks, hosts, threads, tokens, tokensPerRank, queryHeads, kvHeads, headDim
    case valueHeadDim, layout, transport, wire, arithmetic, rules, chosenTransport
  }

  static let names =
    [
      "pass", "ranks", "hosts", "threads", "tokens", "tokensPerRank", "queryHeads", "kvHeads",
      "headDim",
    ] + PatternChoice.fields + [
      "layout", "transport", "wire", "arithmetic", "rules", "valueHeadDim",
    ]

  static let header = [
    "pass", "mask", "by", "layout", "wire", "head dim", "tokens", "hosts", "ranks",
  ]

  var cells: [String] {
    [
      pass.rawValue, "\(pattern)" + (rules.value.map { ", \($0)" } ?? ""),
      transport == chosenTransport ? transport : "\(transport): \(chosenTransport)", layout,
      arithmetic.value.map { "\(wire), \($0) products" } ?? wire,
      headDims(headDim, valueHeadDim), grouped(tokens), "\(hosts)", "\(ranks)",
    ]
  }

  /// The row in a few words, where several are spoken of.
  var words: String {
    "\(pass), \(pattern), \(transport), \(wire), \(grouped(tokens)) tokens, "
      + counted(ranks, "rank")
  }

  init(
    _ pass: KernelPass, _ attention: AttentionCase, _ problem: ShardedAttention,
    route: Route, hosts: Int
  ) {
    self.pass = pass
    ranks = problem.ranks
    self.hosts = hosts
    threads = attention.threads
    tokens = problem.queries.tokens
    tokensPerRank = problem.queries.largestTokenCount
    queryHeads = attention.shape.queryHeads
    kvHeads = attention.shape.kvHeads
    headDim = attention.shape.headDim
    valueHeadDim = attention.shape.valueHeadDim
    pattern = attention.pattern
    layout = problem.queries.layout?.rawValue ?? "explicit"
    transport = attention.transportName
    wire = "\(attention.wire)"
    arithmetic = Nullable(value: attention.arithmetic == .f32 ? nil : "\(attention.arithmetic)")
    rules = Nullable(value: attention.rules)
    chosenTransport = "\(route)"
  }
}

/// What came out for some attention.
package protocol AttentionFigures: Encodable {
  static var benchmark: String { get }
  static var names: [String] { get }
  /// Of a table for people, after those of the key.
  static var header: [String] { get }
  var cells: [String] { get }
  /// The columns that a narrow terminal can do without, those first that are left out first.
  static var dispensable: [String] { get }
  /// What people should be told of the results, a sentence a line.
  static func remarks(on results: [AttentionResult<Self>]) -> [String]
}

/// A row: one object with the fields of all.
package struct AttentionResult<Figures: AttentionFigures>: BenchResult {
  let key: AttentionKey
  let figures: Figures

  package static var benchmark: String { Figures.benchmark }
  package static var keys: [String] { AttentionKey.names }
  package static var figures: [String] { ["chosenTransport"] + Figures.names }

  package static var keyColumns: Int { AttentionKey.header.count }
  package static var dispensableColumns: [String] { Figures.dispensable }
  package static func remarks(on results: [Self]) -> [String] { Figures.remarks(on: results) }

  package static func table(of results: [Self]) -> [[String]] {
    [AttentionKey.header + Figures.header] + results.map { $0.key.cells + $0.figures.cells }
  }

  package func encode(to encoder: any Encoder) throws {
    try key.encode(to: encoder)
    try key.pattern.encode(to: encoder)
    try figures.encode(to: encoder)
  }
}
