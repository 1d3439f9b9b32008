package uaserver_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/internal/uaserver"
)

const fast = 10 * time.Millisecond

func TestMonitoredItemsAreCheckedOneByOne(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *uaserver.Options) {
		o.Limits.MaxQueueSize, o.Limits.MaxMonitoredItemsPerSubscription = 50, 3
	})
	v := s.Add("v", uaserver.Variable{Value: int32(1), At: at(1)})
	txt := s.Add("txt", uaserver.Variable{Value: "x", At: at(1)})
	r := connect(t, s, anonymous())
	r.subscribe(fast, 10, 100, 0)
	res := r.monitor(param{queue: 1000}, v.NodeID(), ua.NewStringNodeID(s.Namespace(), "ghost"), txt.NodeID(), v.NodeID(), v.NodeID()).Results
	want := []ua.StatusCode{ua.StatusOK, ua.StatusBadNodeIDUnknown, ua.StatusOK, ua.StatusOK, ua.StatusBadTooManyMonitoredItems}
	for i, w := range want {
		if res[i].StatusCode != w {
			t.Errorf("item %d: %v, want %v", i, res[i].StatusCode, w)
		}
	}
	if res[0].RevisedQueueSize != 50 || res[0].RevisedSamplingInterval != 0 || res[0].MonitoredItemID == res[2].MonitoredItemID {
		t.Errorf("granted %+v", res[0])
	}
	_, items := r.data()
	got := map[uint32]any{}
	for _, i := range items {
		got[i.ClientHandle] = i.Value.Value.Value()
	}
	if d := cmp.Diff(map[uint32]any{1: int32(1), 3: "x", 4: int32(1)}, got); d != "" {
		t.Error("initial values:", d)
	}
}

func TestFiltersAreHonouredOrRefused(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	num := s.Add("num", uaserver.Variable{Value: int32(10), At: at(0)})
	txt := s.Add("txt", uaserver.Variable{Value: "a", At: at(0)})
	r := connect(t, s, anonymous())
	r.subscribe(fast, 10, 100, 0)
	absolute := &ua.DataChangeFilter{Trigger: ua.DataChangeTriggerStatusValue, DeadbandType: 1, DeadbandValue: 2}
	res := r.monitor(param{queue: 10, filter: absolute}, num.NodeID(), txt.NodeID()).Results
	if res[0].StatusCode != ua.StatusOK || res[1].StatusCode != ua.StatusBadFilterNotAllowed {
		t.Errorf("%v, %v", res[0].StatusCode, res[1].StatusCode)
	}
	percent := &ua.DataChangeFilter{Trigger: ua.DataChangeTriggerStatusValue, DeadbandType: 2, DeadbandValue: 2}
	if res := r.monitor(param{queue: 10, filter: percent}, num.NodeID()).Results; res[0].StatusCode != ua.StatusBadMonitoredItemFilterUnsupported {
		t.Errorf("percent: %v", res[0].StatusCode)
	}
	for i, v := range []int32{11, 12, 13, 14, 20} {
		num.Set(v, ua.StatusOK, at(i+1))
	}
	num.Set(int32(20), ua.StatusUncertain, at(9))
	var got []int32
	for len(got) < 4 {
		_, items := r.data()
		got = append(got, values(items)...)
	}
	if d := cmp.Diff([]int32{10, 13, 20, 20}, got); d != "" {
		t.Error(d)
	}
}

func TestAnUnchangedValueIsReportedOnlyByTheTimestampTrigger(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	v := s.Add("v", uaserver.Variable{Value: int32(1), At: at(0)})
	r := connect(t, s, anonymous())
	r.subscribe(fast, 10, 100, 0)
	r.monitor(param{queue: 10, filter: &ua.DataChangeFilter{Trigger: ua.DataChangeTriggerStatusValueTimestamp}}, v.NodeID())
	r.data()
	v.Set(int32(1), ua.StatusOK, at(1))
	if _, items := r.data(); len(items) != 1 || !items[0].Value.SourceTimestamp.Equal(at(1)) {
		t.Errorf("items %v", items)
	}
}

func TestQueueOverflowIsMarkedOnTheRightValue(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	v := s.Add("v", uaserver.Variable{Value: int32(0), At: at(0)})
	r := connect(t, s, anonymous())
	type seen struct {
		V      int32
		Status ua.StatusCode
	}
	for _, c := range []struct {
		name string
		p    param
		want []seen
	}{
		{"the oldest is discarded and the new oldest is marked", param{queue: 3}, []seen{{4, 0x480}, {5, 0}, {6, 0}}},
		{"the newest is replaced and marked", param{queue: 3, newest: true}, []seen{{1, 0}, {2, 0}, {6, 0x480}}},
		{"a queue of one is never marked", param{queue: 1}, []seen{{6, 0}}},
	} {
		// One publishing interval must cover all the sets: publishing is off.
		v.Set(int32(1), ua.StatusOK, at(1))
		r.subscribe(fast, 1000, 3000, 0)
		mode := func(on bool) {
			must[*ua.SetPublishingModeResponse](r, &ua.SetPublishingModeRequest{SubscriptionIDs: []uint32{r.sub}, PublishingEnabled: on})
		}
		mode(false)
		r.monitor(c.p, v.NodeID())
		for i := int32(2); i <= 6; i++ {
			v.Set(i, ua.StatusOK, at(int(i)))
		}
		mode(true)
		_, items := r.data()
		var got []seen
		for _, i := range items {
			got = append(got, seen{i.Value.Value.Value().(int32), i.Value.Status})
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		must[*ua.DeleteSubscriptionsResponse](r, &ua.DeleteSubscriptionsRequest{SubscriptionIDs: []uint32{r.sub}})
	}
}

func TestAnUpdateOfSeveralVariablesArrivesInOrderInOneMessage(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	vars := make([]*uaserver.Var, 5)
	ids := make([]*ua.NodeID, 5)
	for i := range vars {
		vars[i] = s.Add(string(rune('a'+i)), uaserver.Variable{Value: int32(-1), At: at(0)})
		ids[i] = vars[i].NodeID()
	}
	r := connect(t, s, anonymous())
	r.subscribe(fast, 100, 1000, 0)
	r.monitor(param{queue: 100}, ids...)
	r.data()
	order := []int{3, 0, 3, 4, 1, 2, 0}
	for round := range 20 {
		s.Update(func(tx *uaserver.Tx) {
			for i, n := range order {
				tx.Set(vars[n], int32(100*round+i), ua.StatusOK, at(round))
			}
		})
		_, items := r.data()
		want := make([]int32, len(order))
		for i := range want {
			want[i] = int32(100*round + i)
		}
		if d := cmp.Diff(want, values(items)); d != "" {
			t.Fatal(d)
		}
	}
}

func TestSamplingKeepsTheNewestValueOfEachInterval(t *testing.T) {
	t.Parallel()
	clock := at(0)
	step := make(chan time.Time, 1)
	step <- clock
	now := func() time.Time { n := <-step; step <- n; return n }
	set := func(n time.Time) { <-step; step <- n }
	s := start(t, func(o *uaserver.Options) { o.Now = now })
	v := s.Add("v", uaserver.Variable{Value: int32(0), At: at(0)})
	r := connect(t, s, anonymous())
	r.subscribe(fast, 100, 1000, 0)
	if res := r.monitor(param{queue: 10, sampling: 1000}, v.NodeID()).Results[0]; res.RevisedSamplingInterval != 1000 {
		t.Errorf("revised to %v ms", res.RevisedSamplingInterval)
	}
	r.data()
	for i := int32(1); i <= 3; i++ {
		v.Set(i, ua.StatusOK, at(0).Add(time.Duration(i)*time.Millisecond))
	}
	set(at(1))
	v.Set(int32(4), ua.StatusOK, at(1))
	set(at(2))
	var got []int32
	for len(got) < 2 {
		_, items := r.data()
		got = append(got, values(items)...)
	}
	if d := cmp.Diff([]int32{3, 4}, got); d != "" {
		t.Error(d)
	}
}

func TestKeepAliveCarriesTheNextNumberAndDoesNotUseItUp(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	v := s.Add("v", uaserver.Variable{Value: int32(0), At: at(0)})
	r := connect(t, s, anonymous())
	r.subscribe(fast, 3, 1000, 0)
	first := r.publish()
	if n := first.NotificationMessage; n.SequenceNumber != 1 || len(n.NotificationData) != 0 {
		t.Errorf("first message %+v", n)
	}
	r.monitor(param{queue: 1}, v.NodeID())
	res, _ := r.data()
	if res.NotificationMessage.SequenceNumber != 1 {
		t.Errorf("data has number %d", res.NotificationMessage.SequenceNumber)
	}
	for range 2 {
		k := r.publish()
		if n := k.NotificationMessage; n.SequenceNumber != 2 || len(n.NotificationData) != 0 {
			t.Errorf("keep-alive %+v", n)
		}
		if d := cmp.Diff([]uint32{1}, k.AvailableSequenceNumbers); d != "" {
			t.Error(d)
		}
	}
}

func TestSeveralOutstandingRequestsDrainMoreNotifications(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	v := s.Add("v", uaserver.Variable{Value: int32(0), At: at(0)})
	r := connect(t, s, anonymous())
	r.subscribe(fast, 1000, 3000, 2)
	r.monitor(param{queue: 100}, v.NodeID())
	r.data()
	type answer struct {
		res *ua.PublishResponse
		err error
	}
	answers := make(chan answer)
	for range 4 {
		go func() {
			res, err := r.tryPublish()
			answers <- answer{res, err}
		}()
	}
	eventually(t, "4 requests queued", func() bool { return s.Stats().PublishRequests == 4 })
	s.Update(func(tx *uaserver.Tx) {
		for i := int32(1); i <= 7; i++ {
			tx.Set(v, i, ua.StatusOK, at(int(i)))
		}
	})
	bySeq := map[uint32][]int32{}
	more := map[uint32]bool{}
	for range 4 {
		a := <-answers
		if a.err != nil {
			t.Fatal(a.err)
		}
		n := a.res.NotificationMessage.SequenceNumber
		bySeq[n] = values(changes(t, a.res.NotificationMessage))
		more[n] = a.res.MoreNotifications
	}
	if d := cmp.Diff(map[uint32][]int32{2: {1, 2}, 3: {3, 4}, 4: {5, 6}, 5: {7}}, bySeq); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[uint32]bool{2: true, 3: true, 4: true, 5: false}, more); d != "" {
		t.Error(d)
	}
}

func TestTooManyPublishRequestsFailTheOldest(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *uaserver.Options) { o.Limits.MaxPublishRequests = 2 })
	r := connect(t, s, anonymous())
	_, err := r.tryPublish()
	wantCode(t, err, ua.StatusBadNoSubscription)
	r.subscribe(fast, 5, 1000, 0)
	r.publish()
	errs := make(chan error)
	for range 3 {
		go func() {
			_, err := r.tryPublish()
			errs <- err
		}()
	}
	tooMany := 0
	for range 3 {
		if err := <-errs; errors.Is(err, ua.StatusBadTooManyPublishRequests) {
			tooMany++
		} else if err != nil {
			t.Error(err)
		}
	}
	if tooMany != 1 {
		t.Errorf("%d requests refused", tooMany)
	}
}

func TestUnacknowledgedMessagesCanBeRepublished(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *uaserver.Options) { o.Limits.MaxRetransmission = 3 })
	v := s.Add("v", uaserver.Variable{Value: int32(0), At: at(0)})
	r := connect(t, s, anonymous())
	r.subscribe(fast, 1000, 3000, 0)
	r.monitor(param{queue: 10}, v.NodeID())
	r.data()
	var last *ua.PublishResponse
	for i := int32(1); i <= 4; i++ {
		v.Set(i, ua.StatusOK, at(int(i)))
		last, _ = r.data()
	}
	if d := cmp.Diff([]uint32{3, 4, 5}, last.AvailableSequenceNumbers); d != "" {
		t.Error(d)
	}
	m, err := r.republish(4)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int32{3}, values(changes(t, m))); d != "" || m.SequenceNumber != 4 {
		t.Error(d, m.SequenceNumber)
	}
	_, err = r.republish(1)
	wantCode(t, err, ua.StatusBadMessageNotAvailable)
	v.Set(int32(9), ua.StatusOK, at(9))
	res, _ := r.data(4, 1, 4)
	if d := cmp.Diff([]ua.StatusCode{ua.StatusOK, ua.StatusBadSequenceNumberUnknown, ua.StatusBadSequenceNumberUnknown}, res.Results); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]uint32{3, 5, 6}, res.AvailableSequenceNumbers); d != "" {
		t.Error(d)
	}
	_, err = r.republish(4)
	wantCode(t, err, ua.StatusBadMessageNotAvailable)
	r.sub += 1000
	_, err = r.republish(5)
	wantCode(t, err, ua.StatusBadSubscriptionIDInvalid)
}

func TestSequenceNumbersWrapToOne(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *uaserver.Options) { o.Limits.FirstSequenceNumber = math.MaxUint32 - 1 })
	v := s.Add("v", uaserver.Variable{Value: int32(0), At: at(0)})
	r := connect(t, s, anonymous())
	r.subscribe(fast, 1000, 3000, 0)
	r.monitor(param{queue: 10}, v.NodeID())
	var got []uint32
	for i := int32(1); i <= 4; i++ {
		res, _ := r.data()
		got = append(got, res.NotificationMessage.SequenceNumber)
		v.Set(i, ua.StatusOK, at(int(i)))
	}
	if d := cmp.Diff([]uint32{math.MaxUint32 - 1, math.MaxUint32, 1, 2}, got); d != "" {
		t.Error(d)
	}
	if m, err := r.republish(math.MaxUint32); err != nil || values(changes(t, m))[0] != 1 {
		t.Errorf("republished %v, %v", m, err)
	}
}

func TestASubscriptionThatNobodyServesTimesOut(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	r := connect(t, s, anonymous())
	res := r.subscribe(fast, 1, 3, 0)
	if res.RevisedLifetimeCount != 3 || res.RevisedPublishingInterval != 10 {
		t.Errorf("granted %+v", res)
	}
	eventually(t, "subscription removed", func() bool { return s.Stats().Subscriptions == 0 })
	got := r.publish()
	if code := statusChange(t, got.NotificationMessage); code != ua.StatusBadTimeout || got.SubscriptionID != res.SubscriptionID {
		t.Errorf("told %v for %d", code, got.SubscriptionID)
	}
	_, err := r.tryPublish()
	wantCode(t, err, ua.StatusBadNoSubscription)
	again := r.subscribe(fast, 1, 3, 0)
	if again.SubscriptionID == res.SubscriptionID {
		t.Error("the id was given out again")
	}
}

func TestRequestsAreRevisedHonestly(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *uaserver.Options) {
		o.Limits.MinPublishingInterval, o.Limits.MaxPublishingInterval = 50*time.Millisecond, time.Second
		o.Limits.MaxKeepAliveCount, o.Limits.MaxLifetimeCount = 20, 100
	})
	r := connect(t, s, anonymous())
	for _, c := range []struct {
		ask, interval    float64
		keep, life       uint32
		gotKeep, gotLife uint32
	}{
		{0, 50, 0, 0, 1, 3},
		{-5, 50, 10, 5, 10, 30},
		{math.Inf(1), 1000, 1000, 1000, 20, 100},
		{250, 250, 5, 50, 5, 50},
	} {
		res := must[*ua.CreateSubscriptionResponse](r, &ua.CreateSubscriptionRequest{RequestedPublishingInterval: c.ask, RequestedMaxKeepAliveCount: c.keep, RequestedLifetimeCount: c.life})
		if res.RevisedPublishingInterval != c.interval || res.RevisedMaxKeepAliveCount != c.gotKeep || res.RevisedLifetimeCount != c.gotLife {
			t.Errorf("asked %+v, granted %+v", c, res)
		}
		mod := must[*ua.ModifySubscriptionResponse](r, &ua.ModifySubscriptionRequest{SubscriptionID: res.SubscriptionID, RequestedPublishingInterval: 75, RequestedMaxKeepAliveCount: 2, RequestedLifetimeCount: 6})
		if mod.RevisedPublishingInterval != 75 || mod.RevisedLifetimeCount != 6 {
			t.Errorf("modified to %+v", mod)
		}
	}
}

func TestItemsCanBeModifiedPausedAndDeleted(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	a := s.Add("a", uaserver.Variable{Value: int32(1), At: at(0)})
	b := s.Add("b", uaserver.Variable{Value: int32(2), At: at(0)})
	r := connect(t, s, anonymous())
	r.subscribe(fast, 1000, 3000, 0)
	ids := r.monitor(param{queue: 10}, a.NodeID(), b.NodeID()).Results
	r.data()
	res := must[*ua.DeleteMonitoredItemsResponse](r, &ua.DeleteMonitoredItemsRequest{SubscriptionID: r.sub, MonitoredItemIDs: []uint32{ids[0].MonitoredItemID, 999}})
	if d := cmp.Diff([]ua.StatusCode{ua.StatusOK, ua.StatusBadMonitoredItemIDInvalid}, res.Results); d != "" {
		t.Error(d)
	}
	mode := func(m ua.MonitoringMode) {
		must[*ua.SetMonitoringModeResponse](r, &ua.SetMonitoringModeRequest{SubscriptionID: r.sub, MonitoringMode: m, MonitoredItemIDs: []uint32{ids[1].MonitoredItemID}})
	}
	mode(ua.MonitoringModeSampling)
	a.Set(int32(10), ua.StatusOK, at(1))
	b.Set(int32(20), ua.StatusOK, at(1))
	mod := must[*ua.ModifyMonitoredItemsResponse](r, &ua.ModifyMonitoredItemsRequest{SubscriptionID: r.sub, TimestampsToReturn: ua.TimestampsToReturnServer,
		ItemsToModify: []*ua.MonitoredItemModifyRequest{{MonitoredItemID: ids[1].MonitoredItemID, RequestedParameters: &ua.MonitoringParameters{ClientHandle: 77, QueueSize: 5, DiscardOldest: true}}}})
	if mod.Results[0].StatusCode != ua.StatusOK || mod.Results[0].RevisedQueueSize != 5 {
		t.Errorf("modified to %+v", mod.Results[0])
	}
	mode(ua.MonitoringModeReporting)
	_, items := r.data()
	if len(items) != 1 || items[0].ClientHandle != 77 || items[0].Value.Value.Value() != int32(20) || items[0].Value.Has(ua.DataValueSourceTimestamp) {
		t.Errorf("items %+v", items)
	}
	s.Remove("b")
	if _, items = r.data(); len(items) != 1 || items[0].Value.Status != ua.StatusBadNodeIDUnknown {
		t.Errorf("after removal %+v", items)
	}
}

func TestInjectedFaultsMakeGapsAndEndings(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	v := s.Add("v", uaserver.Variable{Value: int32(0), At: at(0)})
	r := connect(t, s, anonymous())
	s.Inject(func(service string, n int) *uaserver.Fault {
		switch {
		case service == "Notification" && n == 2:
			return &uaserver.Fault{Withhold: true}
		case service == "Notification" && n == 3:
			return &uaserver.Fault{Lose: true}
		case service == "Notification" && n == 5:
			return &uaserver.Fault{StatusChange: ua.StatusBadTimeout}
		case service == "Read" && n == 1:
			return &uaserver.Fault{Status: ua.StatusBadTooManyOperations}
		}
		return nil
	})
	_, err := send[*ua.ReadResponse](r, &ua.ReadRequest{NodesToRead: make9(node(2267))})
	wantCode(t, err, ua.StatusBadTooManyOperations)
	r.subscribe(fast, 1000, 3000, 0)
	r.monitor(param{queue: 10}, v.NodeID())
	r.data()
	for i := 2; i <= 3; i++ {
		v.Set(int32(i), ua.StatusOK, at(i))
		done := s.Calls("Notification")
		eventually(t, "message consumed", func() bool {
			if s.Stats().PublishRequests == 0 {
				go func() { _, _ = r.tryPublish() }()
			}
			return s.Calls("Notification") > done || s.Calls("Notification") >= i
		})
	}
	s.DropConnections()
	eventually(t, "connection gone", func() bool { return s.Stats().Connections == 0 })
	r2 := channel(t, s)
	if err := r2.c.ActivateSession(t.Context(), r.sess); err != nil {
		t.Fatal(err)
	}
	r2.sub = r.sub
	v.Set(int32(4), ua.StatusOK, at(4))
	res, items := r2.data()
	if res.NotificationMessage.SequenceNumber != 4 || values(items)[0] != 4 {
		t.Errorf("message %d with %v", res.NotificationMessage.SequenceNumber, values(items))
	}
	if m, err := r2.republish(2); err != nil || values(changes(t, m))[0] != 2 {
		t.Errorf("withheld message: %v, %v", m, err)
	}
	_, err = r2.republish(3)
	wantCode(t, err, ua.StatusBadMessageNotAvailable)
	v.Set(int32(5), ua.StatusOK, at(5))
	if got := r2.publish(); statusChange(t, got.NotificationMessage) != ua.StatusBadTimeout {
		t.Error("no status change")
	}
}
