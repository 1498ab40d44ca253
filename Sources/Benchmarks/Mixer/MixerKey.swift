import Reporting
import Results

/// What operator a row is about: the fields that such rows of all benchmarks have.
struct MixerKey: Encodable {
  let pass: KernelPass
  let mixer: String
  let causal: Bool
  /// Of all dimensions but tokens, as `batch=1,heads=4`.
  let sizes: String
  let ranks: Int
  let hosts: Int
  let threads: Int
  /// Of the whole sequence.
  let tokens: Int
  /// Of the rank that has most.
  let tokensPerRank: Int

  private enum CodingKeys: CodingKey {
    case pass, mixer, causal, sizes, ranks, hosts, threads, tokens, tokensPerRank
  }

  static let names = [
    "pass", "mixer", "causal", "sizes", "ranks", "hosts", "threads", "tokens", "tokensPerRank",
  ]

  static let header = ["pass", "mixer", "sizes", "tokens", "hosts", "ranks"]

  var cells: [String] {
    [
      pass.rawValue, mixer + (causal ? ", causal" : ""), sizes, grouped(tokens), "\(hosts)",
      "\(ranks)",
    ]
  }
}

/// What came out for an operator.
package protocol MixerFigures: Encodable {
  static var benchmark: String { get }
  static var names: [String] { get }
  /// Of a table for people, after those of the key.
  static var header: [String] { get }
  var cells: [String] { get }
  /// The columns that a narrow terminal can do without, those first that are left out first.
  static var dispensable: [String] { get }
  /// What people should be told of the results, a sentence a line.
  static func remarks(on figures: [Self]) -> [String]
}

/// A row: one object with the fields of both.
package struct MixerRow<Figures: MixerFigures>: BenchResult {
  let key: MixerKey
  let figures: Figures

  package static var benchmark: String { Figures.benchmark }
  package static var keys: [String] { MixerKey.names }
  package static var figures: [String] { Figures.names }
  package static var keyColumns: Int { MixerKey.header.count }
  package static var dispensableColumns: [String] { Figures.dispensable }
  package static func remarks(on results: [Self]) -> [String] {
    Figures.remarks(on: results.map(\.figures))
  }

  package static func table(of results: [Self]) -> [[String]] {
    [MixerKey.header + Figures.header] + results.map { $0.key.cells + $0.figures.cells }
  }

  package func encode(to encoder: any Encoder) throws {
    try key.encode(to: encoder)
    try figures.encode(to: encoder)
  }
}
