import Attention
import Testing

@Suite("The processor check")
struct InstructionSetTests {
  private func cpuinfo(_ flags: [String]) -> String {
    "processor\t: 0\nmodel name\t: A processor\nflags\t\t: fpu \(flags.joined(separator: " ")) x\n"
  }

  @Test func namesWhatIsMissing() {
    let all = InstructionSet.features
    #expect(InstructionSet.missingFeatures(cpuinfo: cpuinfo(all)).isEmpty)
    for feature in all {
      let others = all.filter { $0 != feature }
      #expect(InstructionSet.missingFeatures(cpuinfo: cpuinfo(others)) == [feature])
    }
    // A longer name is another feature.
    #expect(InstructionSet.missingFeatures(cpuinfo: cpuinfo(all.map { $0 + "2x" })) == all)
  }

  @Test func aSystemThatTellsNothingIsNotRefused() {
    #expect(InstructionSet.missingFeatures(cpuinfo: "processor : 0\n").isEmpty)
    #expect(InstructionSet.missingFeatures(cpuinfo: "").isEmpty)
  }
}
