import Tensors
import Testing

@Suite("Shapes and tensors")
struct ShapeTests {
  @Test("Counts, strides and names")
  func basics() {
    let shape: Shape = [2, 3, 4, 5]
    #expect(shape.rank == 4)
    #expect(shape.elementCount == 120)
    #expect((0..<4).map(shape.stride) == [60, 20, 5, 1])
    #expect(shape.description == "[2, 3, 4, 5]")
    #expect(Shape([]).elementCount == 1)
    #expect(Shape([7, 0, 3]).elementCount == 0)
    #expect(shape.byteCount(.f32) == 480)
    #expect(shape.byteCount(.bf16) == 240)
  }

  @Test("Flat places and indices are inverse to each other")
  func flatIndex() {
    let shape: Shape = [3, 1, 4, 2]
    for flat in 0..<shape.elementCount {
      #expect(shape.flatIndex(of: shape.index(ofFlat: flat)) == flat)
    }
    #expect(shape.flatIndex(of: [2, 0, 3, 1]) == 23)
    #expect(shape.index(ofFlat: 9) == [1, 0, 0, 1])
    #expect(Shape([]).index(ofFlat: 0) == [])
  }

  @Test(
    "A shape that cannot be is refused without a trap",
    arguments: [[-1], [4, -2, 3], [.max, 2], [1 << 32, 1 << 31], [1 << 40, 0, 1 << 40]])
  func invalid(dimensions: [Int]) {
    #expect(Shape(validating: dimensions) == nil)
  }

  @Test("The largest shapes are shapes, but may have no size in bytes")
  func largest() {
    #expect(Shape(validating: [.max, 1, 1])?.elementCount == .max)
    #expect(Shape(validating: [.max])?.byteCount(.f32) == nil)
    #expect(Shape(validating: [.max / 2])?.byteCount(.f16) == .max - 1)
  }

  @Test("A tensor is row-major")
  func tensor() {
    var tensor = Tensor<Float>(zeros: [2, 3, 4])
    tensor[1, 2, 3] = 9
    tensor[0, 1, 0] = 4
    #expect(tensor.span[23] == 9)
    #expect(tensor.span[4] == 4)
    #expect(tensor.count == 24)
    var span = tensor.mutableSpan
    span[0] = -1
    #expect(tensor[0, 0, 0] == -1)
    let ones = Tensor<Float16>(repeating: 1, shape: [5])
    #expect((0..<5).allSatisfy { ones[$0] == 1 })
  }

  @Test("An index outside of the shape stops the process")
  func bounds() async {
    await #expect(processExitsWith: .failure) {
      print(Tensor<Float>(zeros: [2, 3])[0, 3])
    }
    await #expect(processExitsWith: .failure) {
      print(Tensor<Float>(zeros: [2, 3]).reshaped(to: [7]).count)
    }
  }
}
