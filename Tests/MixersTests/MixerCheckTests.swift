import Mixers
import Testing

/// What `--verify` holds errors to.
@Suite("Checks of mixers")
struct MixerCheckTests {
  @Test("an error is told as a part of the largest number, of small ones as of large ones")
  func scale() {
    #expect(MixerCheck.scale(100) == 101)
    #expect(MixerCheck.scale(1) == 2)
    // Outputs of 1e-8 would pass whatever they were if they were held to a part of 1.
    #expect(MixerCheck.scale(1e-8) == 1e-7)
    #expect(MixerCheck.scale(0) == 1)
  }
}
