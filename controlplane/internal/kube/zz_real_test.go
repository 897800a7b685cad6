package kube
import ("testing";"context";"time";"fmt";"os"
 metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
 corev1 "k8s.io/api/core/v1"
 "github.com/hashicorp/go-hclog"
 "github.com/portolan-net/portolan/controlplane/internal/cluster"
 "github.com/portolan-net/portolan/controlplane/internal/model"
 "github.com/portolan-net/portolan/controlplane/internal/admission")
func TestReal(t *testing.T){
 kc:="/tmp/e2ehold/kubeconfig"
 for i:=0;i<300;i++ { if _,e:=os.Stat("/tmp/e2ehold/ready"); e==nil {break}; time.Sleep(200*time.Millisecond) }
 store:=cluster.NewStore(); ctx,cancel:=context.WithCancel(context.Background()); defer cancel()
 done:=make(chan error); log:=hclog.New(&hclog.LoggerOptions{Level:hclog.Debug})
 go func(){done<-Run(ctx, Config{Kubeconfig:kc,ClusterID:"x",Logger:log,Writer:admission.NewWriter(store,log)})}()
 for !store.Take().Synced { time.Sleep(time.Millisecond) }
 c,err:=newClient(kc); if err!=nil{t.Fatal(err)}
 sv:=&corev1.Service{ObjectMeta:metav1.ObjectMeta{Name:"web"},Spec:corev1.ServiceSpec{Ports:[]corev1.ServicePort{{Port:80}}}}
 if _,err:=c.CoreV1().Services("default").Create(ctx,sv,metav1.CreateOptions{});err!=nil{t.Fatal(err)}
 es:=slice("","10.0.0.1"); es.Namespace="default"
 es,err=c.DiscoveryV1().EndpointSlices("default").Create(ctx,es,metav1.CreateOptions{}); if err!=nil{t.Fatal(err)}
 var worst, sum time.Duration
 for i:=0;i<50;i++{ es.Endpoints[0].Addresses[0]=fmt.Sprintf("10.0.1.%d",i+1); b:=time.Now(); es2,err:=c.DiscoveryV1().EndpointSlices("default").Update(ctx,es,metav1.UpdateOptions{}); if err!=nil{t.Fatal(err)}; es=es2
  for { _,l:=store.Service(model.Key{Namespace:"default",Name:"web"}); if len(l)>0 && l[0].Endpoints[0].Addr.String()==es.Endpoints[0].Addresses[0] {break}; <-store.Changed() }
  d:=time.Since(b); sum+=d; worst=max(worst,d); time.Sleep(20*time.Millisecond)}
 fmt.Println("write->store mean",sum/50,"worst",worst)
 os.WriteFile("/tmp/e2ehold/stop",nil,0o600)
 time.Sleep(15*time.Second)
 cancel(); if err:=<-done; err!=nil {t.Fatal(err)}
}
