import Foundation
import Models
import Tensors

/// The oracle of a model whose layers carry states: token by token and in `Double`.
protocol PlainStateModel {
  var model: TinyModel { get }
  var file: ModelFile { get }

  /// Adds what a layer makes of all rows to them.
  func add(layer p: String, to rows: inout [[Double]]) throws

  /// A row as the first layer gets it.
  func entered(_ row: [Double]) throws -> [Double]

  /// A row as it leaves the last norm.
  func left(_ row: [Double]) throws -> [Double]
}

extension PlainStateModel {
  func entered(_ row: [Double]) throws -> [Double] { row }

  func left(_ row: [Double]) throws -> [Double] {
    rootMeanSquare(row, try vector("output_norm.weight"))
  }

  /// The logits after each token.
  func logits(_ tokens: [Int]) throws -> [[Double]] {
    let embedding = try matrix("token_embd.weight")
    var rows = try tokens.map { try entered(embedding[$0]) }
    for layer in 0..<model.layers { try add(layer: "blk.\(layer).", to: &rows) }
    let output = model.isTied ? embedding : try matrix("output.weight")
    return try rows.map { times(output, try left($0)) }
  }

  func matrix(_ name: String) throws -> [[Double]] {
    let tensor = try file.tensor(name)
    let numbers = tensor.decoded()
    return (0..<tensor.rows).map { row in
      (0..<tensor.columns).map { Double(numbers[row * tensor.columns + $0]) }
    }
  }

  /// All numbers of a tensor, whatever its dimensions are.
  func vector(_ name: String) throws -> [Double] { Array(try matrix(name).joined()) }

  func times(_ weights: some Collection<[Double]>, _ x: some Collection<Double>) -> [Double] {
    weights.map { row in zip(row, x).reduce(0) { $0 + $1.0 * $1.1 } }
  }

  func rootMeanSquare(_ x: [Double], _ weights: [Double]) -> [Double] {
    let mean = x.reduce(0) { $0 + $1 * $1 } / Double(x.count)
    return zip(x, weights).map { $0 / (mean + Double(TinyModel.epsilon)).squareRoot() * $1 }
  }

  func centred(_ x: [Double], epsilon: Double) -> [Double] {
    let mean = x.reduce(0, +) / Double(x.count)
    let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(x.count)
    return x.map { ($0 - mean) / (variance + epsilon).squareRoot() }
  }

  func silu(_ x: Double) -> Double { x / (1 + exp(-x)) }
}
