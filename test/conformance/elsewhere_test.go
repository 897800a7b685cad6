package conformance

import "strings"

// elsewhere says where rules are tested that packets cannot show, or not these ones:
// "package TestName", several separated by commas. What is not tested yet says so and
// what is missing.
var elsewhere = map[int]string{
	18:  "test/conformance TestLocalhostNodePortsAreServedToThoseWhoAsk",
	22:  "agent/internal/reconcile TestNodePortsFollowTheNodesAddresses, agent/internal/nodeaddr TestWatchTellsOfAnAddressThatComes",
	23:  "controlplane/internal/admission TestAnOutsideAddressInAServiceCIDRIsLeftOut, controlplane/internal/admission TestOutsideAddressesFollowTheServiceCIDRs",
	41:  "controlplane/internal/round TestServicesFollowWhatTheSettingsAllow",
	65:  "agent/internal/healthcheck TestTheAnswerSaysWhetherThereAreEndpointsHere, agent/internal/reconcile TestHealthChecksFollowTheEndpointsOnTheNode",
	66:  "agent/internal/healthcheck TestTheAnswerSaysWhetherThereAreEndpointsHere",
	67:  "agent/internal/healthcheck TestTheAnswerSaysWhetherThereAreEndpointsHere",
	68:  "agent/internal/reconcile TestHealthChecksFollowTheEndpointsOnTheNode",
	69:  "agent/internal/healthcheck TestThePortClosesWithTheService, agent/internal/reconcile TestHealthChecksFollowTheEndpointsOnTheNode",
	70:  "agent/internal/healthcheck TestAPortThatIsTakenIsTriedAgain, agent/internal/healthcheck TestAWarningGoesWithItsService, agent/internal/reconcile TestWarningsAreAcknowledgedAnewWhenTheyChange, controlplane/internal/discovery TestWhatANodeComplainsOfIsHeardOnce, controlplane/internal/events TestEventsSayWhatHappened, test/e2e TestPacketsFollowTheAPI",
	91:  "controlplane/internal/manifest TestOnlyChangedObjectsAreReported, controlplane/internal/admission TestAnUnchangedObjectChangesNothing, controlplane/internal/compile TestOrderDoesNotMatter, controlplane/reference TestOrderDoesNotMatter",
	102: "test/conformance TestMasqueradeMark",
	103: "test/conformance TestMasqueradeMark",
	106: "agent/internal/reconcile TestAFamilyThatFailsDoesNotStopTheOther, agent/internal/dataplane/nftables TestAFamilyThatFailsDoesNotStopTheOther, agent/internal/health TestANodeIsUnhealthyOnlyWhenAChangeHasWaitedTooLong",
	112: "agent/internal/dataplane/nftables TestANodeWithoutIPv6, agent/internal/reconcile TestANodeWithoutItsPrimaryFamilySaysSo, agent/internal/reconcile TestAFamilyThatTheNodeLacksIsToldOfAsMissing, agent/internal/health TestAFamilyThatTheNodeLacksIsNotSpokenOf",
	113: "controlplane/internal/compile TestTheFirstAddressIsOfThePrimaryFamily, controlplane/internal/configuration TestTheBindAddressChoosesThePrimaryFamily, agent/internal/reconcile TestANodeWithoutItsPrimaryFamilySaysSo",
	114: "agent/internal/reconcile TestConnectionsOfUDPFrontendsAreLookedAtAfterTheirEndpointsChange",
	115: "agent/internal/conntrack TestOnlyUDPEntriesOfFrontendsThatNothingServesAreDeleted",
	116: "agent/internal/reconcile TestConnectionsOfUDPFrontendsAreLookedAtAfterTheirEndpointsChange",
	117: "agent/internal/reconcile TestConnectionsOfUDPFrontendsAreLookedAtAfterTheirEndpointsChange",
	118: "agent/internal/conntrack TestOnlyUDPEntriesOfFrontendsThatNothingServesAreDeleted",
	119: "agent/internal/conntrack TestOnlyUDPEntriesOfFrontendsThatNothingServesAreDeleted",
	120: "agent/internal/conntrack TestWhatTheKernelInterruptsIsRepeated",
	121: "agent/internal/reconcile TestConnectionsOfUDPFrontendsAreLookedAtAfterTheirEndpointsChange",
	122: "test/conformance TestWhatConntrackFindsInvalidDoesNotReachClients",
	123: "controlplane/internal/round TestNothingIsServedBeforeTheSourceIsSynced, controlplane/internal/kube TestRunIsNotSyncedBeforeEveryKindIs",
	124: "controlplane/internal/round TestPauseIsByCostAndBounded, agent/internal/reconcile TestChangesKeepTheirDistance",
	125: "agent/internal/reconcile TestAFailedApplyIsRetriedAndThenAcknowledged, agent/internal/dataplane/nftables TestAReplacementFollowsAFailedChange",
	126: "agent/internal/reconcile TestRulesThatSomebodyTookAwayComeBackByThemselves",
	127: "controlplane/internal/round TestARoundCompilesWhatChangedAndNothingElse",
	128: "agent/internal/reconcile TestATransactionWithoutEffectDoesNotTouchTheKernel, agent/internal/ruleset TestAnUpdateThatChangesNothingIsEmpty, controlplane/internal/round TestATriggerTimeAloneSendsNothing",
	129: "agent/internal/reconcile TestRulesOfAnEarlierAgentStayUntilTheControlPlaneSpeaks, agent/internal/dataplane/nftables TestNoConnectionIsLostWhileTheRulesAreReplaced, test/conformance TestNothingIsNoticedOfRestarts",
	130: "agent/internal/dataplane/nftables TestATamperedSkeletonIsMadeAnew",
	131: "agent/internal/reconcile TestANodeThatIsGoneIsNotEligible, agent/internal/health TestANodeThatGoesAwayIsNotHealthyButAlive, agent/internal/reconcile TestTheConfigurationOfANodeThatIsGoneStaysInForce",
	133: "controlplane/internal/configfile TestContentThatIsGoodIsTakenAndOtherRefused, controlplane/internal/configfile TestAConfigMapsFilesChangeTogether, controlplane/internal/configfile TestATornFileIsNotRefused, controlplane/internal/round TestChangedSettingsReachAllNodesAndNothingElse",
	134: "cmd/internal/nodename TestTheNodesNameIsTheFlagOrTheHostName, cmd/internal/agentcommand TestOptionsAreRefusedByName",
	135: "agent/internal/dataplane/nftables TestCleanupLeavesNothing, agent TestRulesOutliveTheAgentAndCleanupRemovesThem, agent TestACleanupThatFailsIsAnError, agent/internal/dataplane/ipvs TestCleanupLeavesNothing, test/conformance TestTheModeIsSwitchedUnderConnections",
	136: "agent TestRulesOutliveTheAgentAndCleanupRemovesThem, test/conformance TestNothingIsNoticedOfRestarts",
	137: "agent TestInitSetsWhatTheControlPlaneSaysAndAcknowledgesNothing, agent TestInitWithoutAControlPlane, agent TestInitSaysWhyAConfigurationCannotBeUsed, api/subscribe TestAnObserverIsToldAndAcknowledgesNothing",
	138: "controlplane/internal/events TestEventsSayWhatHappened, controlplane/internal/nodes TestAnAgentsStartIsToldFromItsReconnection, test/e2e TestPacketsFollowTheAPI, agent TestAnAgentThatMustListenEndsIfItCannot",
	139: "agent/internal/sysctl TestApply",
	140: "agent/internal/sysctl TestApply",
	141: "agent/internal/sysctl TestApply, agent/internal/sysctl TestWhatIsRightIsNotWritten",
	142: "agent/internal/sysctl TestApply, agent/internal/sysctl TestAFailureNamesFileValueAndWhatItWasAndStopsNothing, agent/internal/sysctl TestAReadOnlySettingIsNamedWithWhatItIs, agent TestInitFailsWhereASettingCannotBeMade, agent TestASettingThatCannotBeMadeIsCounted, agent/internal/reconcile TestSysctlsThatCannotBeSetAreAWarning",
	143: "agent/internal/dataplane/ipvs TestOnlyWhatDiffersIsTouched, agent/internal/dataplane/ipvs TestWhatIsSetIsReadBack, test/conformance TestAddressesAndSettingsOfTheNode",
	144: "agent/internal/dataplane/ipvs TestAddressesOfServicesAreBoundAndThoseOfTheNodeAreNot, test/conformance TestAddressesAndSettingsOfTheNode",
	145: "agent/internal/dataplane/ipvs TestASchedulerThatTheKernelDoesNotHave, test/conformance TestEverySchedulerSharesConnectionsAsItPromises, test/conformance TestEverySchedulerByNftables",
	146: "test/conformance TestClientIPPersistence",
	147: "agent/internal/sysctl TestWhatIPVSNeeds, test/conformance TestAddressesAndSettingsOfTheNode",
	148: "agent/internal/sysctl TestWhatIPVSNeeds, test/conformance TestAddressesAndSettingsOfTheNode",
	149: "agent/internal/dataplane/ipvs TestTimeoutsAreTheKernels, agent/internal/dataplane/ipvs TestWhatTheKernelWouldGetWrongIsRefused",
	150: "agent/internal/dataplane/ipvs TestADestinationWithConnectionsDrains, agent/internal/dataplane/ipvs TestUDPAndWhatNoServiceHasDoNotDrain, agent/internal/dataplane/ipvs TestDrainingEndsAtItsLimit, test/conformance TestARemovedEndpointKeepsItsConnections",
	151: "agent/internal/dataplane/ipvs TestADestinationWithConnectionsDrains, test/conformance TestARemovedEndpointKeepsItsConnections",
	152: "agent/internal/dataplane/ipvs TestOnlyWhatDiffersIsTouched",
	153: "agent/internal/dataplane/ipvs TestWhatIsExcludedIsLeftAlone",
	154: "test/conformance TestConformance",
	155: "test/conformance TestConformance",
	156: "test/conformance TestConformance",
	157: "test/conformance TestConformance",
	158: "test/conformance TestConformance",
	159: "agent/internal/zpages TestTheModeIsTheConfigurations",
	160: "agent/internal/health TestAnswersAreThoseOfKubeProxy, agent/internal/health TestOnlyQuestionsAreAnswered",
	161: "agent/internal/health TestANodeIsUnhealthyOnlyWhenAChangeHasWaitedTooLong, agent/internal/health TestAFailureAloneIsAChangeThatWaits, agent/internal/health TestTheNodesSyncPeriodDecidesHowLongIsTooLong",
	162: "agent/internal/health TestANodeThatGoesAwayIsNotHealthyButAlive",
	163: "agent/internal/health TestWhileHealthyTheLastUpdateIsNow",
	164: "agent/internal/zpages TestPages, agent/internal/zpages TestNothingButGETIsAnswered, agent/internal/zpages TestProfilesAreServedOnlyIfSwitchedOn, agent/internal/zpages TestTheConfigurationInForceIsServed, agent/internal/zpages TestWhatHealthChecksSaidIsAnIndicator, agent TestPagesTellOfTheAgent, cmd/internal/agentcommand TestTheFlagsInForceAreServed",
	165: "agent/internal/listen TestATakenAddressIsTriedAgainEveryFiveSeconds, agent/internal/listen TestAListenerThatBreaksIsOpenedAgain, agent/internal/listen TestWithHardFailATakenAddressIsTheEnd, agent/internal/listen TestAnAddressOfTheKernelIsTaken, agent TestAnAgentThatMustListenEndsIfItCannot",
	166: "agent/internal/metrics TestMetricsAreThoseOfKubeProxy, controlplane/internal/topology/kubeproxy TestTheListOfMetricsIsKubeProxys, agent/internal/metrics TestAttemptsAreCountedByFamilyAndScope",
	167: "agent/internal/metrics TestMetricsAreThoseOfKubeProxy, controlplane/internal/topology/kubeproxy TestTheListOfMetricsIsKubeProxys, agent/internal/metrics TestTheLastSyncAndTheLastQueuedChangeHaveTheirTimes",
	168: "agent/internal/metrics TestMetricsAreThoseOfKubeProxy, controlplane/internal/topology/kubeproxy TestTheListOfMetricsIsKubeProxys, agent/internal/metrics TestHowLongAChangeTookIsMeasured, controlplane/internal/objects TestSliceInForce, controlplane/internal/compile TestTheTriggerTimeGoesWithTheEndpoints",
	169: "agent/internal/metrics TestMetricsAreThoseOfKubeProxy, controlplane/internal/topology/kubeproxy TestTheListOfMetricsIsKubeProxys, agent/internal/metrics TestChangesArePendingUntilEveryFamilyHoldsThem",
	170: "agent/internal/metrics TestMetricsAreThoseOfKubeProxy, controlplane/internal/topology/kubeproxy TestTheListOfMetricsIsKubeProxys, agent/internal/ruleset TestPortsWithoutALocalEndpointAreCounted, agent/internal/metrics TestPortsWithoutALocalEndpointAreAGauge",
	171: "agent/internal/metrics TestMetricsAreThoseOfKubeProxy, controlplane/internal/topology/kubeproxy TestTheListOfMetricsIsKubeProxys, agent/internal/health TestEveryAnswerIsCounted, agent TestPagesTellOfTheAgent",
	172: "agent/internal/metrics TestMetricsAreThoseOfKubeProxy, controlplane/internal/topology/kubeproxy TestTheListOfMetricsIsKubeProxys, agent/internal/metrics TestWhatIsBesideTheRulesIsCounted, agent/internal/reconcile TestACollectionThatFailsIsTold",
	173: "agent/internal/metrics TestNoMetricHasANameOfKubeStateMetrics",
	174: "controlplane/internal/configuration TestAFileIsTakenAtItsWord, controlplane/internal/configuration TestAFileInModeIPVSReachesNodesWhole, controlplane/internal/configuration TestWhatIsNotSaidIsAsInKubeProxy",
	175: "controlplane/internal/configuration TestModeIPVSHasFieldsOfItsOwn, controlplane/internal/configuration TestWhatHasNoEffectIsSaid, controlplane/internal/proxyconfig TestEveryFieldIsHonouredMappedOrIgnored",
	176: "controlplane/internal/configuration TestKubeProxyErrorsNameLineFieldValueAndExpectation",
	48:  "test/conformance TestNothingIsNoticedOfRestarts",
}

const notYet = "not yet: "

// splitElsewhere separates the tests of an entry from what is missing.
func splitElsewhere(entry string) (tests []string, missing string) {
	before, missing, found := strings.Cut(entry, notYet)
	if !found {
		missing = ""
	}
	for test := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(before), ";"), ",") {
		if test = strings.TrimSpace(test); test != "" {
			tests = append(tests, test)
		}
	}
	return tests, missing
}
