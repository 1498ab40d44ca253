import Foundation
import Tensors
import TestSupport
import Testing

/// Files of real queries, keys and values beside the package, which need not be there.
@Suite("Real data", .enabled(if: SharedData.exists))
struct SharedDataTests {
  @Test("The headers say what the files hold")
  func headers() throws {
    let inputs = try SafetensorsFile.open(SharedData.path + "/real-qkv.safetensors")
    #expect(try inputs.source("q", rank: 4).shape == [1, 8191, 8, 32])
    #expect(try inputs.source("k", rank: 4).shape == [1, 8191, 4, 32])
    #expect(try inputs.source("v", rank: 4).shape == [1, 8191, 4, 32])
    for name in ["real-qkv-causal", "real-qkv-full"] {
      let outputs = try SafetensorsFile.open("\(SharedData.path)/\(name).safetensors")
      #expect(try outputs.source("o", rank: 4).shape == [1, 8191, 8, 32])
      #expect(try outputs.source("lse", rank: 3).shape == [1, 8, 8191])
    }
  }

  @Test("Shards of uneven sizes are the whole", arguments: [1, 3, 7])
  func shards(worldSize: Int) throws {
    let source = try TensorSource.open(
      SharedData.path + "/real-qkv.safetensors", tensor: "k", rank: 4)
    let whole = try source.readAll()
    for rank in 0..<worldSize {
      let count = (8191 - rank + worldSize - 1) / worldSize
      let rows = PositionRange(start: rank, stride: worldSize, count: count)
      var shard = AlignedBuffer<Float>(zeros: count * 128)
      var span = shard.mutableSpan
      try source.read(RowSlice(rows), into: &span)
      let differs = (0..<count * 128).contains { place in
        shard[place] != whole.span[rows[place / 128] * 128 + place % 128]
      }
      #expect(!differs)
    }
  }
}
